//! The machine that the relay runs on: its clock, memory, files, sockets and addresses, its service manager, and HTTPS requests of the relay's
//! own.
//!
//! It knows nothing of mail and no other crate of the workspace. Four things are done only here: asking for the time ([`clock`]),
//! writing a small file durably ([`files`]), opening a listening socket ([`listen`]) and working with the rights of others ([`rights`]).

pub mod clock;
pub mod descriptors;
pub mod files;
mod guarded;
pub mod https;
mod in_force;
pub mod letterbox;
pub mod listen;
pub mod malloc;
pub mod readings;
pub mod rights;
mod roots;
mod span;
pub mod systemd;
mod this_host;

pub use guarded::{Panicked, guarded, guarded_here};
pub use in_force::InForce;
pub use roots::Roots;
pub use span::span;
pub use this_host::{AnyAddress, Host, ThisHost};
