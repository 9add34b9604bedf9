//! The web page, in a browser: what operators see and do there, with and without script, by day and by night, on a desk and on a phone.

#[path = "pages/bed.rs"]
mod bed;
#[path = "pages/door.rs"]
mod door;
#[path = "pages/every.rs"]
mod every;
#[path = "pages/search.rs"]
mod search;
#[path = "pages/strangers.rs"]
mod strangers;
#[path = "pages/way.rs"]
mod way;
