//! The beginning of a connection over TLS.

use std::{io, sync::Arc};

use rustls::ServerConfig;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::lingering::Lingering;

/// The only protocol that is spoken under TLS (RFC 7301 §6).
pub const ALPN: &[u8] = b"http/1.1";
/// The first byte of every TLS connection: a record of the type handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// The answer to a request in plain text.
const PLAIN: &str = "This port speaks HTTPS: write https:// in place of http://.\n";

/// The connection under TLS. Whoever speaks plain HTTP here gets an answer that it can read.
///
/// # Errors
/// The client speaks no TLS, or none that fits, or is gone.
pub(crate) async fn secured(stream: TcpStream, server: Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if first[0] == HANDSHAKE => TlsAcceptor::from(server).accept(stream).await,
        _ => {
            let length = PLAIN.len();
            let head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n";
            let mut stream = Lingering::new(stream);
            stream.write_all(format!("{head}content-length: {length}\r\n\r\n{PLAIN}").as_bytes()).await?;
            stream.shutdown().await?;
            Err(io::Error::other("the client speaks no TLS"))
        }
    }
}
