//! In whose name mail goes out: the keyring that the configuration and the keys' succession make, the threads that sign, and the
//! change from one key to the next.

pub mod book;
pub mod crew;
pub mod forward;
pub mod ring;
pub mod rotation;
pub mod watch;
