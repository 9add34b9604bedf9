//! Listening sockets.

use std::{io, net::SocketAddr};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

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
