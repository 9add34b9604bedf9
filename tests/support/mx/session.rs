//! One connection's dialogue.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use super::{Act, Shared, Step, Tls, Transaction, lock, wire::Wire};
use crate::wait::PATIENCE;

/// Runs until either side ends the connection.
pub(super) fn talk(shared: &Arc<Shared>, session: usize, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let wire = Some(BufReader::with_capacity(64 << 10, Wire::Plain(stream)));
    let mut session = Session { shared, session, peer, wire, ehlo: String::new(), now: Transaction::default() };
    session.act(Step::Connect, "220 mx.test ESMTP fake")?;
    loop {
        let Some(line) = session.line()? else { return Ok(()) };
        session.obey(&line)?;
    }
}

struct Session<'a> {
    shared: &'a Arc<Shared>,
    session: usize,
    peer: SocketAddr,
    /// None only during the switch to TLS.
    wire: Option<BufReader<Wire>>,
    ehlo: String,
    now: Transaction,
}

impl Session<'_> {
    fn obey(&mut self, line: &str) -> io::Result<()> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" => self.hello(rest),
            "STARTTLS" => self.start_tls(),
            "AUTH" => self.act(Step::Auth(rest), "235 2.7.0 welcome").map(drop),
            "MAIL" => {
                let (from, parameters) = path(rest);
                self.begin();
                if self.act(Step::Mail(&from), "250 2.1.0 ok")? {
                    (self.now.from, self.now.parameters) = (from, parameters);
                }
                Ok(())
            }
            "RCPT" => {
                let (rcpt, _) = path(rest);
                if self.act(Step::Rcpt(&rcpt), "250 2.1.5 ok")? {
                    self.now.rcpts.push(rcpt);
                }
                Ok(())
            }
            "DATA" => self.data(),
            "RSET" => {
                self.begin();
                self.act(Step::Rset, "250 2.0.0 ok").map(drop)
            }
            "QUIT" => {
                self.act(Step::Quit, "221 2.0.0 bye")?;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            "NOOP" => self.say("250 2.0.0 ok"),
            _ => self.say("500 5.5.1 what?"),
        }
    }

    fn begin(&mut self) {
        self.now = Transaction {
            session: self.session,
            peer: Some(self.peer),
            ehlo: self.ehlo.clone(),
            tls: self.wire().get_ref().is_tls(),
            ..Transaction::default()
        };
    }

    fn hello(&mut self, name: &str) -> io::Result<()> {
        self.ehlo = name.to_owned();
        let mut lines = vec!["mx.test".to_owned()];
        lines.extend(lock(&self.shared.extensions).iter().cloned());
        if !matches!(*lock(&self.shared.tls), Tls::None) && !self.wire().get_ref().is_tls() {
            lines.push("STARTTLS".to_owned());
        }
        let last = lines.len() - 1;
        let answer = lines.iter().enumerate().map(|(i, line)| format!("250{}{line}", if i < last { '-' } else { ' ' }));
        let answer = answer.collect::<Vec<_>>().join("\r\n");
        self.act(Step::Ehlo(name), &answer).map(drop)
    }

    fn start_tls(&mut self) -> io::Result<()> {
        let tls = lock(&self.shared.tls).clone();
        if !self.act(Step::StartTls, "220 2.0.0 go")? {
            return Ok(());
        }
        match tls {
            Tls::Good(config) => {
                let plain = self.wire.take().expect("there is a wire between two commands").into_inner();
                self.wire = Some(BufReader::with_capacity(64 << 10, plain.secure(config)?));
                Ok(())
            }
            _ => {
                // Not before the other side has begun: data sent with the 220 would be treated as an attack.
                self.wire().fill_buf()?;
                self.say("this is no TLS")?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    fn data(&mut self) -> io::Result<()> {
        if self.now.rcpts.is_empty() {
            return self.say("554 5.5.1 no valid recipients");
        }
        if !self.act(Step::Data, "354 go")? {
            return Ok(());
        }
        self.now.data = self.message()?;
        let whole = std::mem::take(&mut self.now);
        let act = self.decide(Step::Dot(&whole));
        let swallowed = matches!(act, Act::Close);
        let taken = match &act {
            Act::Say(text) | Act::SayAndClose(text) => text.starts_with('2'),
            Act::Usual | Act::Close => true,
            Act::Wait(gate) => gate.wait(PATIENCE),
            Act::Hang => false,
        };
        self.note(|seen| seen.transactions.push(Transaction { taken, ..whole }));
        self.perform(if swallowed { Act::Close } else { act }, "250 2.0.0 taken").map(drop)
    }

    /// Reads the bytes up to CRLF.CRLF, with dots unstuffed.
    fn message(&mut self) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        let mut at_start = true;
        loop {
            let from = data.len();
            if self.wire().read_until(b'\n', &mut data)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if at_start && data[from] == b'.' {
                if &data[from..] == b".\r\n" {
                    data.truncate(from);
                    return Ok(data);
                }
                data.remove(from);
            }
            at_start = data.ends_with(b"\r\n");
        }
    }

    fn decide(&self, step: Step<'_>) -> Act {
        let script = lock(&self.shared.script).clone();
        script(self.session, step)
    }

    /// Does what the script wants; true if that was to go on as usual, or to give a positive reply.
    fn act(&mut self, step: Step<'_>, usual: &str) -> io::Result<bool> {
        let act = self.decide(step);
        self.perform(act, usual)
    }

    fn perform(&mut self, act: Act, usual: &str) -> io::Result<bool> {
        match act {
            Act::Usual => self.say(usual).map(|()| true),
            Act::Say(text) => self.say(&text).map(|()| text.starts_with(['2', '3'])),
            Act::SayAndClose(text) => {
                self.say(&text)?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Act::Close => Err(io::ErrorKind::ConnectionAborted.into()),
            Act::Wait(gate) => {
                gate.wait(PATIENCE);
                self.say(usual).map(|()| true)
            }
            Act::Hang => {
                io::copy(&mut self.wire().by_ref(), &mut io::sink())?;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        if self.wire().read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        self.note(|seen| seen.commands.push(line.clone()));
        Ok(Some(line))
    }

    fn note(&self, what: impl FnOnce(&mut super::Seen)) {
        what(&mut lock(&self.shared.seen));
        self.shared.changed.notify_all();
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        let wire = self.wire().get_mut();
        wire.write_all(format!("{text}\r\n").as_bytes())?;
        wire.flush()
    }

    fn wire(&mut self) -> &mut BufReader<Wire> {
        self.wire.as_mut().expect("a wire that could not be secured ends the session")
    }
}

/// Splits "FROM:<a@b> SIZE=1" into the part in the brackets and the part after them.
fn path(rest: &str) -> (String, String) {
    let inner = rest.split_once('<').map_or(rest, |(_, inner)| inner);
    let (path, behind) = inner.rsplit_once('>').unwrap_or((inner, ""));
    (path.to_owned(), behind.trim().to_owned())
}
