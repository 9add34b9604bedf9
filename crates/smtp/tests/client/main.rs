//! The client's dialogue against receivers that follow a script, over real sockets.

mod asks;
mod body;
mod envelope;
mod fake;
mod opening;
mod tls;
