//! A submission client that sends exactly the given bytes.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::wait::PATIENCE;

/// A connection to a listener.
pub struct Client(BufReader<Channel>);

/// The transport.
enum Channel {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// Neither: only during the switch to TLS.
    Gone,
}

impl Read for Channel {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// A reply of the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The three digits.
    pub code: u16,
    /// The text of every line.
    pub lines: Vec<String>,
}

/// A message with its envelope.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The reverse-path without brackets; empty for the null one.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
    /// The bytes as they must arrive, without dot stuffing, ended by CRLF unless empty.
    pub data: Vec<u8>,
}

impl Mail {
    /// A small message with a subject.
    pub fn new(from: &str, to: &[&str], subject: &str) -> Self {
        let text = format!("From: <writer@sender.test>\r\nTo: <reader@example.test>\r\nSubject: {subject}\r\n\r\nHello.\r\n");
        Self::raw(from, to, text.as_bytes())
    }

    /// A message of any bytes.
    pub fn raw(from: &str, to: &[&str], data: &[u8]) -> Self {
        Self { from: from.to_owned(), to: to.iter().map(|&t| t.to_owned()).collect(), data: data.to_owned() }
    }
}

impl Answer {
    /// The lines, joined by line breaks.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The message's id from a 250 to the final dot.
    pub fn id(&self) -> Option<&str> {
        self.lines.last().filter(|_| self.code == 250)?.split_once("queued as ").map(|(_, id)| id)
    }
}

impl Client {
    /// Connects to this port of 127.0.0.1 and reads the greeting, which may be a refusal.
    pub fn connect(port: u16) -> io::Result<(Self, Answer)> {
        let mut client = Self::raw(port)?;
        let greeting = client.answer()?;
        Ok((client, greeting))
    }

    /// Connects without reading anything.
    pub fn raw(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(Channel::Plain(stream))))
    }

    /// Does the TLS handshake with a server whose name must be `name`; nothing may be left unread.
    pub fn secure(&mut self, name: &str, config: &Arc<ClientConfig>) -> io::Result<()> {
        let Channel::Plain(mut stream) = std::mem::replace(self.0.get_mut(), Channel::Gone) else {
            return Err(io::Error::other("TLS is on already"));
        };
        let name = name.to_owned().try_into().map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        self.0 = BufReader::new(Channel::Tls(Box::new(StreamOwned::new(connection, stream))));
        Ok(())
    }

    /// Connects, sends STARTTLS, does the handshake and sends EHLO again.
    pub fn starttls(port: u16, name: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut client = Self::hello(port)?;
        let answer = client.say("STARTTLS")?;
        if answer.code != 220 {
            return Err(io::Error::other(answer.text()));
        }
        client.secure(name, config)?;
        client.say("EHLO client.test")?;
        Ok(client)
    }

    /// Sets how long to wait for a reply.
    pub fn patience(&mut self, most: std::time::Duration) {
        if let Channel::Plain(stream) = self.0.get_ref() {
            stream.set_read_timeout(Some(most)).expect("a time that is not zero");
        }
    }

    /// The certificate that the server showed.
    pub fn certificate(&self) -> Option<Vec<u8>> {
        let Channel::Tls(stream) = self.0.get_ref() else { return None };
        stream.conn.peer_certificates().and_then(<[_]>::first).map(|certificate| certificate.to_vec())
    }

    /// Connects and sends EHLO.
    pub fn hello(port: u16) -> io::Result<Self> {
        let (mut client, greeting) = Self::connect(port)?;
        if greeting.code != 220 {
            return Err(io::Error::other(greeting.text()));
        }
        client.say("EHLO client.test")?;
        Ok(client)
    }

    /// Sends these bytes and nothing else.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)?;
        self.0.get_mut().flush()
    }

    /// Sends one line and reads the reply.
    pub fn say(&mut self, line: &str) -> io::Result<Answer> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.answer()
    }

    /// Reads one reply.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end_matches(['\r', '\n']);
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let code = code.ok_or_else(|| io::Error::other(format!("not an answer: {line:?}")))?;
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Answer { code, lines });
            }
        }
    }

    /// Submits a message; returns the reply to its final dot, or the first refusal before it.
    pub fn submit(&mut self, mail: &Mail) -> io::Result<Answer> {
        let mut answer = self.say(&format!("MAIL FROM:<{}>", mail.from))?;
        for rcpt in &mail.to {
            if answer.code != 250 {
                return Ok(answer);
            }
            answer = self.say(&format!("RCPT TO:<{rcpt}>"))?;
        }
        if answer.code != 250 {
            return Ok(answer);
        }
        match self.say("DATA")? {
            go if go.code == 354 => {
                self.send(&stuffed(&mail.data))?;
                self.answer()
            }
            refused => Ok(refused),
        }
    }
}

/// Dot-stuffs a message (RFC 5321 §4.5.2), with the final dot.
pub fn stuffed(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + data.len() / 32 + 3);
    let mut at_start = true;
    for line in data.split_inclusive(|b| *b == b'\n') {
        if at_start && line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        at_start = line.ends_with(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
