//! The client's dialogue against receivers that follow a script, over real sockets.

mod body;
mod envelope;
mod fake;
mod opening;
mod parameters;
mod tls;
