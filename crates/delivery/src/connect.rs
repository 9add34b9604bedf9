//! Connections to receivers' addresses, and the memory of addresses that could not be reached lately.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use posthaste_mail::{Failure, LocalCause, Stage};
use rustix::io::Errno;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Addresses that are remembered as out of reach, at most.
const DOWN_MAX: usize = 10_000;

/// Addresses that could not be reached lately. They are tried after all others.
#[derive(Default)]
pub struct Down(Mutex<HashMap<SocketAddr, Instant>>);

impl Down {
    pub(crate) fn is_down(&self, address: &SocketAddr, now: Instant) -> bool {
        self.lock().get(address).is_some_and(|until| *until > now)
    }

    pub(crate) fn note(&self, address: SocketAddr, until: Instant) {
        let mut down = self.lock();
        if down.len() >= DOWN_MAX {
            down.clear();
        }
        down.insert(address, until);
    }

    /// Forgets all of them, when an operator wants everything tried now.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to `address`, from `bind` if that is given.
pub(crate) async fn connect(address: SocketAddr, bind: Option<IpAddr>, within: Duration) -> Result<TcpStream, Failure> {
    let local = |cause, detail| Failure::Local { stage: Stage::Connect, cause, detail };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|e| local(socket_cause(&e), format!("no socket: {e}")))?;
    if let Some(ip) = bind {
        let bound = socket.bind(SocketAddr::new(ip, 0));
        bound.map_err(|e| local(LocalCause::SourceUnavailable, format!("cannot send from {ip}: {e}")))?;
    }
    let connected = timeout(within, socket.connect(address)).await;
    let stream = match connected {
        Err(_) => return Err(local(LocalCause::ConnectTimeout, format!("{address} did not answer within {} s", within.as_secs_f32()))),
        Ok(Err(e)) => return Err(local(connect_cause(&e), format!("{address}: {e}"))),
        Ok(Ok(stream)) => stream,
    };
    stream.set_nodelay(true).map_err(|e| local(LocalCause::LocalError, e.to_string()))?;
    Ok(stream)
}

/// Descriptors and memory may be there again later; a family of addresses that the kernel lacks will not.
fn socket_cause(error: &std::io::Error) -> LocalCause {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => LocalCause::RelayUnable,
        _ => LocalCause::LocalError,
    }
}

fn connect_cause(error: &std::io::Error) -> LocalCause {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => LocalCause::ConnectionRefused,
        Kind::TimedOut => LocalCause::ConnectTimeout,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => LocalCause::Unreachable,
        Kind::AddrNotAvailable => LocalCause::SourceUnavailable,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::UnexpectedEof | Kind::BrokenPipe => LocalCause::ConnectionLost,
        _ => LocalCause::LocalError,
    }
}
