//! The SMTP protocol: the server's session without sockets, the client's dialogue.
