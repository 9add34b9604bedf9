//! The PROXY protocol (versions 1 and 2): a header from the load balancer that gives the client's address, before the client's first byte.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use bytes::{Buf, BytesMut};
use ppp::{HeaderResult, PartialResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest accepted header, in bytes: room for version 2's two addresses and several hundred bytes of extensions (certificates, names).
const HEADER_MAX: usize = 4096;

/// How a header of version 1 begins.
const V1: &[u8] = b"PROXY ";
/// The longest header of version 1, CRLF included (§2.1 of the protocol).
const V1_MAX: usize = 107;
/// How a header of version 2 begins.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads the header and returns the client's address, or None if the balancer connects on its own behalf (health checks). Bytes after the
/// header stay in `input`.
pub(super) async fn client(stream: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> io::Result<Option<IpAddr>> {
    loop {
        match parse(input) {
            Parsed::Whole { length, client } => {
                input.advance(length);
                return Ok(client.map(|address| address.ip().to_canonical()));
            }
            Parsed::Partial if input.len() < HEADER_MAX => {}
            Parsed::Partial | Parsed::Bad => return Err(io::Error::new(io::ErrorKind::InvalidData, "no PROXY header")),
        }
        if stream.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Whole { length: usize, client: Option<SocketAddr> },
    Partial,
    Bad,
}

fn parse(input: &[u8]) -> Parsed {
    // `ppp` takes an incomplete signature for an error.
    if V1.starts_with(input) || V2.starts_with(input) {
        return Parsed::Partial;
    }
    if input.starts_with(V1) && input.len() < V1_MAX && memchr::memmem::find(input, b"\r\n").is_none() {
        return Parsed::Partial;
    }
    let result = HeaderResult::parse(input);
    if result.is_incomplete() {
        return Parsed::Partial;
    }
    match result {
        HeaderResult::V1(Ok(header)) => Parsed::Whole {
            length: header.header.len(),
            client: match header.addresses {
                v1::Addresses::Tcp4(a) => Some((a.source_address, a.source_port).into()),
                v1::Addresses::Tcp6(a) => Some((a.source_address, a.source_port).into()),
                v1::Addresses::Unknown => None,
            },
        },
        HeaderResult::V2(Ok(header)) => {
            let client = match header.addresses {
                _ if header.command == v2::Command::Local => None,
                v2::Addresses::IPv4(a) => Some((a.source_address, a.source_port).into()),
                v2::Addresses::IPv6(a) => Some((a.source_address, a.source_port).into()),
                v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
            };
            Parsed::Whole { length: header.header.len(), client }
        }
        _ => Parsed::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2, &[0x20 | command, family], &length, body].concat()
    }

    async fn read(bytes: &[u8]) -> (io::Result<Option<IpAddr>>, Vec<u8>) {
        // One byte at a time: a header may arrive in pieces of any size.
        let mut input = BytesMut::new();
        let mut stream = one_by_one(bytes);
        let client = client(&mut stream, &mut input).await;
        let mut rest = input.to_vec();
        stream.read_to_end(&mut rest).await.unwrap();
        (client, rest)
    }

    /// A reader that returns one byte per read.
    fn one_by_one(bytes: &[u8]) -> impl AsyncRead + Unpin {
        struct OneByOne(Vec<u8>, usize);
        impl AsyncRead for OneByOne {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                into: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                let at = self.1;
                if let Some(byte) = self.0.get(at) {
                    into.put_slice(&[*byte]);
                    self.1 += 1;
                }
                std::task::Poll::Ready(Ok(()))
            }
        }
        OneByOne(bytes.to_vec(), 0)
    }

    #[tokio::test]
    async fn both_versions_say_who_the_client_is() {
        let v4 = [&[192, 0, 2, 1][..], &[10, 0, 0, 1], &[0xde, 0xad], &[0, 25]].concat();
        let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 16], &[1, 1], &[0, 25], &[4, 0, 1, 0]].concat();
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 40000 25\r\n".to_vec(), Some("192.0.2.1")),
            (b"PROXY TCP6 2001:db8::7 ::1 40000 25\r\n".to_vec(), Some("2001:db8::7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (v2(1, 0x11, &v4), Some("192.0.2.1")),
            (v2(1, 0x21, &v6), Some("2001:db8::7")),
            (v2(0, 0x11, &v4), None),
            (v2(0, 0, &[]), None),
        ] {
            let (read, rest) = read(&[&header[..], b"EHLO c.test\r\n"].concat()).await;
            assert_eq!(read.unwrap(), client.map(|c| c.parse().unwrap()), "{}", header.escape_ascii());
            assert_eq!(rest, b"EHLO c.test\r\n", "what follows is the client's");
        }
    }

    #[tokio::test]
    async fn whatever_else_comes_is_no_header() {
        let endless = [b"PROXY TCP4 ", &[b'1'; 5000][..]].concat();
        for bad in [&b"EHLO c.test\r\n"[..], b"PROXY TCP5 1 2 3 4\r\n", b"PROXY TCP4 192.0.2.1", b"", &endless, b"\x16\x03\x01", &V2[..8]] {
            assert!(read(bad).await.0.is_err(), "{}", bad.escape_ascii());
        }
        // A length beyond the longest accepted header.
        assert!(read(&[V2, &[0x21, 0x11, 0xff, 0xff], &[0; 60_000]].concat()).await.0.is_err());
    }
}
