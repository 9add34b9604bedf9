//! The machine that the relay runs on: its clock, files, sockets and addresses, its service manager, and HTTPS requests of the relay's own.
//!
//! It knows no mail and no other crate of the house. It keeps three things in one place each: the only question for the time ([`clock`]), the
//! only way a small file is replaced ([`files`]), and the only way a listening socket is opened ([`listen`]).

pub mod clock;
pub mod files;
pub mod https;
mod in_force;
pub mod listen;
mod login;
mod roots;
mod secret;
mod span;
pub mod systemd;
mod this_host;

pub use in_force::InForce;
pub use login::Login;
pub use roots::Roots;
pub use secret::Secret;
pub use span::span;
pub use this_host::{AnyAddress, Host, ThisHost};
