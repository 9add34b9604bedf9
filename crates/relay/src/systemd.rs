//! Tells systemd how far we are (sd_notify(3)): one datagram to the socket it names. Does nothing elsewhere.

use std::os::unix::net::UnixDatagram;

/// Mail is taken.
pub(crate) fn ready() {
    notify("READY=1");
}

/// Mail is taken no more.
pub(crate) fn stopping() {
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
