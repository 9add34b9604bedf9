//! All listening sockets, opened before anything starts.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use posthaste_config::Config;
use posthaste_host::listen;
use posthaste_mail::Name;
use tokio::net::{TcpListener, UnixListener};

use crate::{error::OpeningError, open};

/// All listening sockets.
pub(super) struct Sockets {
    pub(super) smtp: Vec<(Name, TcpListener)>,
    pub(super) http: Vec<TcpListener>,
    pub(super) admin: UnixListener,
}

impl Sockets {
    pub(super) fn open(config: &Config) -> Result<Self, OpeningError> {
        Ok(Self {
            smtp: open::listeners(config)?,
            http: open::http_listeners(config)?,
            admin: listen::open_unix(&config.admin.socket, config.admin.mode)
                .map_err(|source| OpeningError::AdminSocket { path: config.admin.socket.clone(), source })?,
        })
    }

    /// Where clients connect to, as bound. A socket that does not know is none of theirs.
    pub(super) fn addresses(&self) -> Arc<[SocketAddr]> {
        self.smtp.iter().map(|(_, socket)| socket).chain(&self.http).filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// The addresses of the page, as a browser on this host takes them.
    pub(super) fn pages(&self, tls: bool) -> Vec<String> {
        let scheme = if tls { "https" } else { "http" };
        let here = |address: SocketAddr| match address {
            SocketAddr::V4(a) if a.ip().is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, a.port())),
            SocketAddr::V6(a) if a.ip().is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, a.port())),
            address => address,
        };
        self.http.iter().filter_map(|socket| socket.local_addr().ok()).map(|address| format!("{scheme}://{}", here(address))).collect()
    }
}
