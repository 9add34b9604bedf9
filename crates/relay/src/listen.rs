//! Listeners and the sockets of submission sessions: the thin shell around `posthaste_smtp::server::Session`.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, atomic::AtomicUsize, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::BytesMut;
use posthaste_mail::{Address, Name, What};
use posthaste_smtp::server::{Answer, Refusal, Session, Step};
use posthaste_spool::Spool;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::{
    clock,
    config::Role,
    intake::{Client, Intake, Refused},
    returns::Desk,
    scribe::event,
    suppression::{List, Reason, Register},
};

/// Bytes read at once.
const READ: usize = 64 << 10;
/// Reply bytes gathered before they are written, whatever the client pipelines.
const FLUSH_AT: usize = 16 << 10;
/// How long a listener waits after the system had no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// All submission sessions.
pub struct Submissions {
    intake: Arc<Intake>,
    /// Where returning mail goes.
    desk: Arc<Desk>,
    register: Arc<Register<Spool>>,
    open: AtomicUsize,
    per_listener: Mutex<HashMap<Name, HashMap<IpAddr, usize>>>,
    stopping: watch::Receiver<bool>,
}

/// What a listener takes.
#[derive(Clone, Copy)]
struct Door {
    role: Role,
    refuse_suppressed: bool,
}

/// One session's place in the counts, given back when dropped.
struct Place {
    of: Arc<Submissions>,
    listener: Name,
    ip: IpAddr,
}

impl Submissions {
    /// None yet.
    pub fn new(intake: Arc<Intake>, desk: Arc<Desk>, register: Arc<Register<Spool>>, stopping: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self { intake, desk, register, open: AtomicUsize::new(0), per_listener: Mutex::default(), stopping })
    }

    /// Takes connections until told to stop, then waits for the sessions to end.
    pub async fn serve(self: Arc<Self>, name: Name, listener: TcpListener) {
        let mut stopping = self.stopping.clone();
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                () = told(&mut stopping) => break,
                Some(_) = sessions.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => drop(sessions.spawn(self.clone().session(name.clone(), stream, peer))),
                    Err(error) => {
                        tracing::warn!(listener = %name, %error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        while sessions.join_next().await.is_some() {}
    }

    async fn session(self: Arc<Self>, listener: Name, stream: TcpStream, peer: SocketAddr) {
        let ip = peer.ip().to_canonical();
        if let Err(error) = self.talk(listener, stream, ip).await {
            tracing::debug!(%peer, %error, "a submission session broke off");
        }
    }

    async fn talk(self: Arc<Self>, listener: Name, mut stream: TcpStream, ip: IpAddr) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let live = self.intake.live.load_full();
        let (Some(settings), Some(config)) = (live.sessions.get(&listener), live.config.listeners.get(&listener)) else { return Ok(()) };
        let mut session = Session::new(settings.clone());
        let mut out = Vec::with_capacity(512);
        let refusal = if config.allows(ip) {
            self.clone().place(&listener, ip, config.max_connections, config.max_connections_per_ip, live.config.limits.connections)
        } else {
            Err((Answer::new(554, 7, 1, format!("{ip} may not send through this relay")), "not_allowed"))
        };
        let _place = match refusal {
            Ok(place) => place,
            Err((answer, reason)) => {
                session.refuse(&answer, &mut out);
                self.rejected(ip, &session, &Refusal { command: "connect", from: None, rcpt: None, user: None, answer, reason });
                return stream.write_all(&out).await;
            }
        };
        let client = Client { ip, stream: config.stream.clone(), arc: config.arc };
        let door = Door { role: config.role, refuse_suppressed: config.refuse_suppressed };
        let limits = (live.config.limits.command_timeout, live.config.limits.data_timeout);
        drop(live);
        session.greet(&mut out);
        self.converse(&mut session, &mut stream, &mut out, &client, door, limits).await
    }

    async fn converse(
        &self,
        session: &mut Session,
        stream: &mut TcpStream,
        out: &mut Vec<u8>,
        client: &Client,
        door: Door,
        (command, data): (Duration, Duration),
    ) -> std::io::Result<()> {
        let mut input = BytesMut::with_capacity(READ);
        let mut stopping = self.stopping.clone();
        let mut sender = None;
        loop {
            if out.len() >= FLUSH_AT {
                flush(stream, out, command).await?;
            }
            match session.feed(&mut input, out) {
                Step::More => {
                    flush(stream, out, command).await?;
                    let wait = if session.is_receiving() { data } else { command };
                    input.reserve(READ);
                    let read = tokio::select! {
                        read = timeout(wait, stream.read_buf(&mut input)) => read,
                        () = told(&mut stopping), if session.is_between_messages() => {
                            session.shutting_down(out);
                            return flush(stream, out, command).await;
                        }
                    };
                    match read {
                        Ok(Ok(0)) => return Ok(()),
                        Ok(read) => drop(read?),
                        Err(_) => session.timeout(out),
                    }
                }
                Step::Flush => flush(stream, out, command).await?,
                Step::Mail(request) => match self.closed(door.role) {
                    None => {
                        sender = Some(request.reverse_path.to_string());
                        session.answer(Ok(()), out);
                    }
                    Some((answer, reason)) => {
                        let from = Some(request.reverse_path.to_string());
                        self.rejected(
                            client.ip,
                            session,
                            &Refusal { command: "mail", from, rcpt: None, user: None, answer: answer.clone(), reason },
                        );
                        session.answer(Err(answer), out);
                    }
                },
                Step::Rcpt(rcpt) => match self.unwanted(&rcpt, client, door) {
                    None => session.answer(Ok(()), out),
                    Some((answer, reason)) => {
                        let (from, rcpt) = (sender.clone(), Some(rcpt.to_string()));
                        let refusal = Refusal { command: "rcpt", from, rcpt, user: None, answer: answer.clone(), reason };
                        self.rejected(client.ip, session, &refusal);
                        session.answer(Err(answer), out);
                    }
                },
                Step::StartTls | Step::Authenticate(_) => unreachable!("no listener offers TLS or AUTH"),
                Step::Message(submission) => {
                    let from = submission.envelope.reverse_path.to_string();
                    let taken = match door.role {
                        Role::Submission => self.intake.take(submission, client).await.map(Answer::queued),
                        Role::Returns => {
                            let rcpts = submission.envelope.recipients.into_iter().map(Some).collect();
                            self.desk.take(submission.data, rcpts).await.map(|()| Answer::new(250, 0, 0, "Ok: read"))
                        }
                    };
                    match taken {
                        Ok(answer) => session.answer_message(&answer, out),
                        Err((answer, reason)) => {
                            self.rejected(
                                client.ip,
                                session,
                                &Refusal { command: "dot", from: Some(from), rcpt: None, user: None, answer: answer.clone(), reason },
                            );
                            session.answer_message(&answer, out);
                        }
                    }
                }
                Step::Refused(refusal) => self.rejected(client.ip, session, &refusal),
                Step::Close => {
                    flush(stream, out, command).await?;
                    return stream.shutdown().await;
                }
            }
        }
    }

    fn closed(&self, role: Role) -> Option<Refused> {
        match role {
            Role::Submission => self.intake.closed(),
            Role::Returns => self.desk.closed(),
        }
    }

    /// Why this recipient is refused, if so.
    fn unwanted(&self, rcpt: &Address, client: &Client, door: Door) -> Option<Refused> {
        if door.role == Role::Returns {
            return self.desk.want(rcpt).err();
        }
        let live = self.intake.live.load();
        let list = List::new(&self.register, &live.config.suppression);
        let listed = || list.look_up(rcpt, &client.stream, None, clock::now());
        let entry = door.refuse_suppressed.then(listed).flatten()?;
        let why = format!("nothing is sent to this address: {} since {:.0}", entry.reason, entry.since);
        let answer = match entry.reason {
            Reason::HardBounce => Answer::new(550, 1, 1, why),
            Reason::Complaint | Reason::Unsubscribe | Reason::Manual => Answer::new(550, 7, 1, why),
        };
        Some((answer, "suppressed"))
    }

    fn rejected(&self, client_ip: IpAddr, session: &Session, refusal: &Refusal) {
        let what = What::Rejected {
            client_ip,
            client_ehlo: session.hello().map(|h| h.name.to_string()),
            command: refusal.command.into(),
            from: refusal.from.clone(),
            rcpt: refusal.rcpt.clone(),
            reply: refusal.answer.to_reply(),
            reason: refusal.reason.into(),
        };
        let node = self.intake.live.load().config.node.clone();
        self.intake.log.append(event(&node, clock::now(), what), None);
    }

    fn place(
        self: Arc<Self>,
        listener: &Name,
        ip: IpAddr,
        max: usize,
        max_per_ip: usize,
        max_total: usize,
    ) -> Result<Place, (Answer, &'static str)> {
        let too_many = |who: &str| (Answer::new(421, 7, 0, format!("too many connections {who}, try again later")), "too_many_connections");
        let mut counts = self.per_listener.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let ips = counts.entry(listener.clone()).or_default();
        if ips.get(&ip).is_some_and(|n| *n >= max_per_ip) {
            return Err(too_many("from your address"));
        }
        if ips.values().sum::<usize>() >= max || self.open.load(Relaxed) >= max_total {
            return Err(too_many("here"));
        }
        *ips.entry(ip).or_default() += 1;
        drop(counts);
        self.open.fetch_add(1, Relaxed);
        Ok(Place { listener: listener.clone(), ip, of: self })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.open.fetch_sub(1, Relaxed);
        let mut counts = self.of.per_listener.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(ips) = counts.get_mut(&self.listener)
            && let Some(n) = ips.get_mut(&self.ip)
        {
            *n -= 1;
            if *n == 0 {
                ips.remove(&self.ip);
            }
        }
    }
}

/// Comes back when it is time to stop.
async fn told(stopping: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so is gone, which is as good.
    drop(stopping.wait_for(|stop| *stop).await.map(drop));
}

/// A client that does not read its replies is no better than one that does not write.
async fn flush(stream: &mut TcpStream, out: &mut Vec<u8>, within: Duration) -> std::io::Result<()> {
    if !out.is_empty() {
        timeout(within, stream.write_all(out)).await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        out.clear();
    }
    Ok(())
}
