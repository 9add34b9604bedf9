//! A client's connection, in plain text or over TLS.

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

/// The transport of a session.
pub(super) enum Wire {
    /// Plain text.
    Plain(Begun),
    /// TLS.
    Tls(Box<TlsStream<Begun>>),
}

/// A socket, with the bytes already read from it after a PROXY header.
pub(super) struct Begun {
    pub(super) read: BytesMut,
    pub(super) socket: TcpStream,
}

/// The result of a TLS handshake.
#[derive(Default)]
pub(super) struct Handshake {
    /// Channel bindings for SCRAM.
    pub(super) bindings: Bindings,
    /// The names in the client's certificate, which one of the listener's authorities has signed; empty: it sent none.
    pub(super) client_names: Vec<String>,
}

impl Wire {
    /// Sends the TCP acknowledgement of the received bytes at once (TCP_QUICKACK). Where that is not supported, the usual delay applies.
    pub(super) fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        drop(match self {
            Self::Plain(begun) => begun.socket.set_quickack(true),
            Self::Tls(stream) => stream.get_ref().0.socket.set_quickack(true),
        });
    }

    /// Performs the TLS handshake as the server.
    pub(super) async fn secured(self, server: Arc<ServerConfig>) -> io::Result<(Self, Handshake)> {
        let Self::Plain(begun) = self else { return Err(io::Error::other("TLS is on already")) };
        let stream = TlsAcceptor::from(server).accept(begun).await?;
        let (_, connection) = stream.get_ref();
        let mut bindings = Bindings::default();
        // RFC 9266 §4: in TLS 1.2 the exporter is bound to the session only with an extended master secret, which rustls does not report.
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
