//! Answers an authority's checks that names lead here. Anybody can connect: connections and their time are limited, and only expected
//! requests are answered.

mod alpn;
mod http;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use instant_acme::{ChallengeType, KeyAuthorization};
use posthaste_host::{descriptors::Accepting, listen};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Challenge, PairError};

/// Connections at once; further ones are dropped.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may last.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after the system had no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens for the authority's checks. The listeners close some time after this is dropped.
pub(super) struct Answerer {
    answers: Answers,
    listeners: JoinSet<()>,
}

/// The expected answers of one kind of challenge.
#[derive(Clone)]
enum Answers {
    Http(Arc<http::Tokens>),
    Alpn(Arc<alpn::Names>),
}

/// The relay cannot listen on an address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for the authority's checks (acme.address): {source}")]
pub(super) struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

impl Answerer {
    /// Listens on all these addresses.
    pub(super) fn open(challenge: Challenge, addresses: &[SocketAddr]) -> Result<Self, ListenError> {
        let answers = match challenge {
            Challenge::Http01 => Answers::Http(Arc::default()),
            Challenge::TlsAlpn01 => Answers::Alpn(Arc::default()),
        };
        let (mut listeners, slots) = (JoinSet::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
        for address in addresses {
            let listener = listen::open(*address).map_err(|source| ListenError { address: *address, source })?;
            listeners.spawn(take(listener, slots.clone(), answers.clone()));
        }
        Ok(Self { answers, listeners })
    }

    /// Closes all listeners; their addresses are free when this returns.
    pub(super) async fn close(mut self) {
        self.listeners.shutdown().await;
    }

    /// The kind of challenge that is answered here.
    pub(super) fn challenge(&self) -> ChallengeType {
        match self.answers {
            Answers::Http(_) => ChallengeType::Http01,
            Answers::Alpn(_) => ChallengeType::TlsAlpn01,
        }
    }

    /// Answers requests for `token`, or handshakes for `name`, from now on.
    pub(super) fn expect(&self, name: &str, token: &str, answer: &KeyAuthorization) -> Result<(), PairError> {
        match &self.answers {
            Answers::Http(tokens) => tokens.expect(token, answer.as_str()),
            Answers::Alpn(names) => names.expect(name, answer.digest().as_ref())?,
        }
        Ok(())
    }
}

impl Answers {
    async fn converse(self, stream: TcpStream) {
        match self {
            Self::Http(tokens) => tokens.converse(stream).await,
            Self::Alpn(names) => names.converse(stream).await,
        }
    }
}

async fn take(listener: TcpListener, slots: Arc<Semaphore>, answers: Answers) {
    let mut connections = JoinSet::new();
    let mut accepting = Accepting::default();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let _ = accepting.note("acme", &accepted);
                match accepted {
                    Ok((stream, _)) => drop(connections.spawn(one(stream, slots.clone(), answers.clone()))),
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            },
        }
    }
}

fn one(stream: TcpStream, slots: Arc<Semaphore>, answers: Answers) -> impl Future<Output = ()> {
    // Taken before the task is spawned, so that no connection exceeds the limit while earlier tasks have not begun.
    let slot = slots.try_acquire_owned();
    async move {
        if let Ok(_slot) = slot {
            drop(timeout(CONNECTION_TIMEOUT, answers.converse(stream)).await);
        }
    }
}
