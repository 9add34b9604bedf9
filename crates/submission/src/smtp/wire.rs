//! A connection, in plain text or under TLS.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use posthaste_certificates::names;
use posthaste_smtp::server::Bindings;
use rustls::{ProtocolVersion, ServerConfig};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

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
    /// Acknowledges what came, now (TCP_QUICKACK). Where that cannot be had, the client waits as it does everywhere.
    pub(super) fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        drop(match self {
            Self::Plain(begun) => begun.socket.set_quickack(true),
            Self::Tls(stream) => stream.get_ref().0.socket.set_quickack(true),
        });
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
            return Pin::new(&mut self.socket).poll_read(context, into);
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
