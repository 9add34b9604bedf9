//! The SMTP protocol: the server's session without sockets, the client's dialogue.

pub mod client;
pub mod server;
