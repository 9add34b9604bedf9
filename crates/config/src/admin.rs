//! `[admin]`: the socket that `posthaste queue` and similar commands connect to.

use std::path::{Path, PathBuf};

use super::{
    reader::{Item, Parsed, Table, fault},
    value::{path, string},
};

/// The admin socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Its path.
    pub socket: PathBuf,
    /// Its permission bits.
    pub mode: u32,
}

impl Admin {
    pub(super) fn read(t: &Table<'_>, data_dir: &Path) -> Self {
        let socket = data_dir.join(t.get("socket", path));
        if socket.as_os_str().len() > SOCKET_PATH_MAX {
            t.object("socket", format!("too long: a socket's path has at most {SOCKET_PATH_MAX} bytes, data_dir included"));
        }
        Self { socket, mode: t.get("mode", mode) }
    }
}

/// Linux' `sun_path` has 108 bytes, the final NUL among them (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

fn mode(item: Item<'_>) -> Parsed<u32> {
    match u32::from_str_radix(string(item)?, 8) {
        Ok(mode) if mode <= 0o777 && mode & 0o600 == 0o600 && mode & 0o007 == 0 => Ok(mode),
        Ok(mode) if mode & 0o007 != 0 => {
            fault(item, "the socket gives access to all mail: other users must have none; use \"0600\" or \"0660\"")
        }
        _ => fault(item, "expected octal permissions such as \"0600\" or \"0660\""),
    }
}
