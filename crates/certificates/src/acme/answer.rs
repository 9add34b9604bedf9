//! The door at which an authority looks whether names lead here. Anybody may knock: places and times are few, and only what is expected is answered.

mod alpn;
mod http;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use instant_acme::{ChallengeType, KeyAuthorization};
use posthaste_host::listen;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Challenge, PairError};

/// Connections at once; who comes when there are that many is not heard.
const CONNECTIONS_MAX: usize = 64;
/// How long one may last.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the door waits after the system had no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The door; it closes some time after it is dropped.
pub(super) struct Answerer {
    kind: Kind,
    doors: JoinSet<()>,
}

/// How is answered.
#[derive(Clone)]
enum Kind {
    Http(Arc<http::Tokens>),
    Alpn(Arc<alpn::Names>),
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}, where the authority comes to look (acme.address): {source}")]
pub(super) struct Closed {
    address: SocketAddr,
    source: io::Error,
}

impl Answerer {
    /// Opens it at all these addresses.
    pub(super) fn open(challenge: Challenge, addresses: &[SocketAddr]) -> Result<Self, Closed> {
        let kind = match challenge {
            Challenge::Http01 => Kind::Http(Arc::default()),
            Challenge::TlsAlpn01 => Kind::Alpn(Arc::default()),
        };
        let (mut doors, places) = (JoinSet::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
        for address in addresses {
            let listener = listen::open(*address).map_err(|source| Closed { address: *address, source })?;
            doors.spawn(take(listener, places.clone(), kind.clone()));
        }
        Ok(Self { kind, doors })
    }

    /// Closes it; when this returns, somebody else may listen there.
    pub(super) async fn close(mut self) {
        self.doors.shutdown().await;
    }

    /// Which of an authority's challenges can be answered here.
    pub(super) fn challenge(&self) -> ChallengeType {
        match self.kind {
            Kind::Http(_) => ChallengeType::Http01,
            Kind::Alpn(_) => ChallengeType::TlsAlpn01,
        }
    }

    /// From now on the authority that comes with `token`, or to look at `name`, is answered.
    pub(super) fn expect(&self, name: &str, token: &str, answer: &KeyAuthorization) -> Result<(), PairError> {
        match &self.kind {
            Kind::Http(tokens) => tokens.expect(token, answer.as_str()),
            Kind::Alpn(names) => names.expect(name, answer.digest().as_ref())?,
        }
        Ok(())
    }
}

impl Kind {
    async fn converse(self, stream: TcpStream) {
        match self {
            Self::Http(tokens) => tokens.converse(stream).await,
            Self::Alpn(names) => names.converse(stream).await,
        }
    }
}

async fn take(listener: TcpListener, places: Arc<Semaphore>, kind: Kind) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(one(stream, places.clone(), kind.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of the ACME authority");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

fn one(stream: TcpStream, places: Arc<Semaphore>, kind: Kind) -> impl Future<Output = ()> {
    // Taken here, so that nobody slips in while others' tasks have not begun.
    let place = places.try_acquire_owned();
    async move {
        if let Ok(_place) = place {
            drop(timeout(CONNECTION_TIMEOUT, kind.converse(stream)).await);
        }
    }
}
