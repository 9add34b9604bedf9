//! An IMAP server with one folder, over implicit TLS. It supports as much of RFC 3501 as reading needs.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{certs, mx::Tls, wait::PATIENCE};

/// The server; it runs until the test's process ends.
pub struct FakeImap {
    port: u16,
    shared: Arc<Mutex<Folder>>,
}

/// The folder and its login.
struct Folder {
    login: String,
    name: String,
    /// Each mail, and whether it was seen. UIDs are positions, counted from 1.
    mails: Vec<(Vec<u8>, bool)>,
    commands: Vec<String>,
}

impl FakeImap {
    /// Starts the server, with a certificate for `localhost`; it accepts only this login and folder.
    pub fn start(user: &str, password: &str, folder: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on 127.0.0.1");
        let port = listener.local_addr().expect("the socket is bound").port();
        let Tls::Good(tls) = certs::certified("localhost") else { unreachable!("a certificate is good") };
        let (login, name) = (format!("LOGIN \"{user}\" \"{password}\""), format!("SELECT \"{folder}\""));
        let shared = Arc::new(Mutex::new(Folder { login, name, mails: Vec::new(), commands: Vec::new() }));
        let of = shared.clone();
        let accept = move || {
            while let Ok((stream, _)) = listener.accept() {
                let (of, tls) = (of.clone(), tls.clone());
                // A client that disconnects is not an error of the server.
                thread::spawn(move || drop(talk(stream, tls, &of)));
            }
        };
        thread::Builder::new().name("imap".into()).spawn(accept).expect("a thread for the server");
        Self { port, shared }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Puts a mail into the folder.
    pub fn put(&self, mail: &str) {
        lock(&self.shared).mails.push((mail.into(), false));
    }

    /// The number of mails not seen yet.
    pub fn unseen(&self) -> usize {
        lock(&self.shared).mails.iter().filter(|(_, seen)| !seen).count()
    }

    /// Every command so far, without its tag.
    pub fn commands(&self) -> Vec<String> {
        lock(&self.shared).commands.clone()
    }
}

fn talk(stream: TcpStream, tls: Arc<ServerConfig>, folder: &Mutex<Folder>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    stream.get_mut().write_all(b"* OK ready\r\n")?;
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        let (tag, command) = line.trim_end().split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
        let answer = lock(folder).answer(command);
        let done = if answer.is_some() { "OK done" } else { "NO not here" };
        let stream = stream.get_mut();
        stream.write_all(&answer.unwrap_or_default())?;
        stream.write_all(format!("{tag} {done}\r\n").as_bytes())?;
        stream.flush()?;
        if command == "LOGOUT" {
            return Ok(());
        }
        line.clear();
    }
    Ok(())
}

impl Folder {
    /// The untagged part of the answer; None for NO.
    fn answer(&mut self, command: &str) -> Option<Vec<u8>> {
        self.commands.push(command.to_owned());
        let uids = |set: &str| set.split(',').filter_map(|uid| uid.parse::<usize>().ok()).collect::<Vec<_>>();
        match command.split(' ').collect::<Vec<_>>()[..] {
            ["LOGIN", ..] => (command == self.login).then(Vec::new),
            ["SELECT", ..] => (command == self.name).then(|| format!("* {} EXISTS\r\n* 0 RECENT\r\n", self.mails.len()).into()),
            ["UID", "SEARCH", "UNSEEN"] => {
                let unseen = (1..).zip(&self.mails).filter(|(_, (_, seen))| !seen).map(|(uid, _)| format!(" {uid}"));
                Some(format!("* SEARCH{}\r\n", unseen.collect::<String>()).into())
            }
            ["UID", "FETCH", set, ..] => Some(uids(set).into_iter().flat_map(|uid| self.fetched(uid)).collect()),
            ["UID", "STORE", set, "+FLAGS.SILENT", "(\\Seen)"] => {
                uids(set).into_iter().for_each(|uid| self.mails[uid - 1].1 = true);
                Some(Vec::new())
            }
            ["LOGOUT"] => Some(b"* BYE\r\n".to_vec()),
            _ => None,
        }
    }

    fn fetched(&self, uid: usize) -> Vec<u8> {
        let mail = &self.mails[uid - 1].0;
        [format!("* {uid} FETCH (UID {uid} BODY[]<0> {{{}}}\r\n", mail.len()).as_bytes(), mail, b")\r\n"].concat()
    }
}

fn lock(folder: &Mutex<Folder>) -> MutexGuard<'_, Folder> {
    folder.lock().unwrap_or_else(PoisonError::into_inner)
}
