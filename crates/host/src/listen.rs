//! Listening sockets.

use std::{fs, io, net::SocketAddr, os::unix::fs::PermissionsExt, os::unix::net::UnixStream, path::Path};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

/// Connections that the kernel keeps while a listener is busy.
const BACKLOG: u32 = 1024;

/// Opens a listening socket. An IPv6 one takes no IPv4 connections, so that both can be listened on side by side.
///
/// # Errors
/// What the system says: the address is in use, is not on this host, or may not be bound by this user.
pub fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Creates a listening Unix socket with this file mode, and its folder if that is missing. A left-over socket on which nobody listens is
/// replaced.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] if another process listens on it; otherwise what the system says.
pub fn open_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another relay is running on it"));
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_left_over_socket_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/admin.sock");
        let first = open_unix(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(open_unix(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(path.exists());
        open_unix(&path, 0o660).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    }
}
