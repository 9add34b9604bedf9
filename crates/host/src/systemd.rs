//! Tells systemd the relay's state (sd_notify(3)), and takes the sockets that systemd opened for it (sd_listen_fds(3)). Does nothing under
//! other service managers.

use std::{io, net::TcpListener, os::unix::net::UnixDatagram};

/// The listening sockets that systemd handed over, with their names (`FileDescriptorName=` of the socket unit).
pub fn sockets() -> io::Result<Vec<(String, TcpListener)>> {
    let handed = sd_listen_fds::get().map_err(io::Error::other)?;
    let taken = handed.into_iter().map(|(name, socket)| {
        let socket = TcpListener::from(socket.into_std());
        socket.set_nonblocking(true)?;
        Ok((name.unwrap_or_default(), socket))
    });
    taken.collect()
}

/// Tells systemd that mail is accepted.
pub fn ready() {
    notify("READY=1");
}

/// Tells systemd that mail is no longer accepted.
pub fn stopping() {
    notify("STOPPING=1");
}

fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = UnixDatagram::unbound().and_then(|socket| match path.to_str().and_then(|p| p.strip_prefix('@')) {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(state.as_bytes(), &address)
        }
        None => socket.send_to(state.as_bytes(), &path),
    });
    if let Err(error) = sent {
        tracing::warn!(%error, state, "cannot tell systemd");
    }
}
