//! Listening sockets.

use std::{
    fs, io,
    net::SocketAddr,
    os::{
        fd::AsRawFd,
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::Path,
};

use rustix::fs::{FileType, Mode, OFlags, fstat};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use crate::{files, rights::within};

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

/// Creates a listening Unix socket with this file mode, and its folder (mode 0700) if that is missing. A left-over socket on which nobody
/// listens is replaced.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] if another process listens on it; otherwise what the system says.
pub fn open_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    files::make_dir(parent)?;
    within(parent, || {
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another relay is running on it"));
        }
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        set_mode(path, mode)?;
        Ok(listener)
    })
}

/// Sets the mode of the socket at `path`, and of nothing that somebody has put in its place.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let socket = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&socket)?.st_mode) != FileType::Socket {
        return Err(io::Error::other("somebody has put something else in the socket's place"));
    }
    fs::set_permissions(format!("/proc/self/fd/{}", socket.as_raw_fd()), fs::Permissions::from_mode(mode))
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
        assert_eq!(fs::metadata(folder.path().join("new")).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
