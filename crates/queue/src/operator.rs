//! What operators ask of the queue: which messages they mean, and the tables they are shown.
//!
//! Nothing here changes the queue. Selections by domain, provider or stream look through every queued message: an
//! operator types them, and with a million messages one takes 50 to 120 ms. A selection by id, as programs send it, takes a microsecond.

pub(crate) mod question;
pub(crate) mod rows;
pub(crate) mod selection;
pub(crate) mod why;
