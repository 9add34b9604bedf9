//! A connection, in plain text or under TLS.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use posthaste_smtp::server::Bindings;
use rustls::{ProtocolVersion, ServerConfig};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::certs::names;

/// What a session's bytes go over.
pub(super) enum Wire {
    /// As they are.
    Plain(Begun),
    /// Protected.
    Tls(Box<TlsStream<Begun>>),
}

/// A socket with bytes that were read from it already, behind a PROXY header.
pub(super) struct Begun {
    pub(super) read: BytesMut,
    pub(super) socket: TcpStream,
    /// Something has come of which the rest is waited for.
    hasty: bool,
}

impl Begun {
    pub(super) fn new(read: BytesMut, socket: TcpStream) -> Self {
        Self { read, socket, hasty: false }
    }
}

/// What a handshake gave.
#[derive(Default)]
pub(super) struct Handshake {
    /// What SCRAM can bind itself to.
    pub(super) bindings: Bindings,
    /// The names in the client's certificate, which one of our authorities vouches for; empty where it has none.
    pub(super) client_names: Vec<String>,
}

impl Wire {
    /// Whether what comes next is the rest of something. A client that hands the rest to its kernel apart, and has not set TCP_NODELAY, sends that
    /// rest only when the part before is acknowledged; and as it gets no reply that could carry the acknowledgement, that takes 40 ms, for each
    /// message anew. So where the rest is waited for, what came is acknowledged at once.
    pub(super) fn expect_the_rest(&mut self, hasty: bool) {
        let begun = match self {
            Self::Plain(begun) => begun,
            Self::Tls(stream) => stream.get_mut().0,
        };
        begun.hasty = hasty;
    }

    /// Does the handshake as the server.
    pub(super) async fn secured(self, server: Arc<ServerConfig>) -> io::Result<(Self, Handshake)> {
        let Self::Plain(begun) = self else { return Err(io::Error::other("TLS is on already")) };
        let stream = TlsAcceptor::from(server).accept(begun).await?;
        let (_, connection) = stream.get_ref();
        let mut bindings = Bindings::default();
        // RFC 9266 §4: in TLS 1.2 the exporter is bound to the session only with an extended master secret, which is not to be seen here.
        if connection.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            let exported = connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None);
            bindings.exporter = exported.ok();
        }
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        let client_names = certificate.map(|certificate| names::of(certificate)).unwrap_or_default();
        Ok((Self::Tls(Box::new(stream)), Handshake { bindings, client_names }))
    }
}

impl AsyncRead for Begun {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            let polled = Pin::new(&mut self.socket).poll_read(context, into);
            if self.hasty && polled.is_pending() {
                acknowledge(&self.socket);
            }
            return polled;
        }
        let length = self.read.len().min(into.remaining());
        into.put_slice(&self.read[..length]);
        self.read.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Acknowledges what came, now. Where that cannot be had, the client waits as it does everywhere.
#[cfg(target_os = "linux")]
fn acknowledge(socket: &TcpStream) {
    drop(socket.set_quickack(true));
}

#[cfg(not(target_os = "linux"))]
fn acknowledge(_: &TcpStream) {}
