//! Replays every file of `tests/dialogues/` against a session (see the README there), once turn by turn in single bytes and once all at
//! once. Both must produce what the file says.

use std::{fmt::Write, fs, path::Path, sync::Arc, time::Duration};

use bytes::BytesMut;
use posthaste_mail::{Address, BodyKind};
use posthaste_smtp::server::{
    Answer, BareLineEnds, Bindings, Credentials, Offers, Session, SessionLimits, SessionSettings, Step,
    sasl::{Mechanism, ScramKeys},
};

/// A parsed file: what the client sends, and the replies and steps expected.
struct Dialogue {
    limits: SessionLimits,
    offers: Offers,
    turns: Vec<Turn>,
}

#[derive(Default)]
struct Turn {
    sent: Vec<u8>,
    /// TLS begins before this turn: the client waits for it even when it pipelines.
    tls: bool,
    expected: Vec<String>,
}

#[test]
fn every_dialogue_goes_as_it_is_written() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/dialogues"));
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    files.sort();
    assert!(files.len() >= 30, "{} dialogues in {}", files.len(), folder.display());
    let mut wrong = String::new();
    for path in &files {
        let name = path.file_name().unwrap().to_string_lossy();
        let dialogue = read(&fs::read_to_string(path).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
        if let Err(difference) = by_the_byte(&dialogue).and_then(|()| at_once(&dialogue)) {
            writeln!(wrong, "\n{name}: {difference}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The client waits for every reply and sends single bytes.
fn by_the_byte(dialogue: &Dialogue) -> Result<(), String> {
    let mut replay = Replay::new(dialogue);
    for (number, turn) in dialogue.turns.iter().enumerate() {
        replay.handshake(turn.tls);
        for byte in &turn.sent {
            replay.send(std::slice::from_ref(byte));
        }
        replay.compare(&format!("byte by byte, turn {number}"), &turn.expected)?;
    }
    Ok(())
}

/// The client waits for nothing.
fn at_once(dialogue: &Dialogue) -> Result<(), String> {
    let mut replay = Replay::new(dialogue);
    for turns in dialogue.turns.chunk_by(|_, next| !next.tls) {
        replay.handshake(turns[0].tls);
        let sent: Vec<u8> = turns.iter().flat_map(|turn| turn.sent.iter().copied()).collect();
        if !sent.is_empty() {
            replay.send(&sent);
        }
        let expected: Vec<_> = turns.iter().flat_map(|turn| turn.expected.iter().cloned()).collect();
        replay.compare("all at once", &expected)?;
    }
    Ok(())
}

/// A session, and what it has said and asked since the last look.
struct Replay {
    session: Session,
    input: BytesMut,
    out: Vec<u8>,
    told: Vec<String>,
    messages: u32,
}

impl Replay {
    fn new(dialogue: &Dialogue) -> Self {
        let (limits, offers) = (dialogue.limits.clone(), dialogue.offers.clone());
        let settings = SessionSettings { hostname: "mx.test".into(), banner: "ESMTP posthaste".into(), limits, offers };
        let session = Session::new(Arc::new(settings), "2030-01-01T00:00:00Z".parse().unwrap());
        let mut replay = Self { session, input: BytesMut::new(), out: Vec::new(), told: Vec::new(), messages: 0 };
        replay.session.greet(&mut replay.out);
        replay.hear();
        replay
    }

    /// What the client does after 220, if it does.
    fn handshake(&mut self, tls: bool) {
        if tls {
            self.session.secured(Bindings { exporter: Some([1; 32]), server_end_point: None });
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        if self.session.is_closed() {
            return;
        }
        self.input.extend_from_slice(bytes);
        loop {
            let step = self.session.feed(&mut self.input, &mut self.out);
            self.hear();
            match step {
                Step::More => return,
                Step::StartTls => return self.told.push("= tls".into()),
                Step::Authenticate(credentials) => self.check(&credentials),
                Step::Close => return self.told.push("= close".into()),
                Step::Flush => {}
                Step::Refused(refusal) => {
                    let mut line = format!("= refused {} {}", refusal.command, refusal.reason);
                    refusal.from.iter().for_each(|from| write!(line, " from=<{from}>").unwrap());
                    refusal.rcpt.iter().for_each(|rcpt| write!(line, " rcpt=<{rcpt}>").unwrap());
                    refusal.user.iter().for_each(|user| write!(line, " user={user}").unwrap());
                    self.told.push(line);
                }
                Step::Mail(mail) => {
                    let size = mail.size.map_or(String::new(), |size| format!(" size={size}"));
                    let body = match mail.body {
                        BodyKind::SevenBit => "",
                        BodyKind::EightBitMime => " 8bitmime",
                        BodyKind::BinaryMime => " binarymime",
                    };
                    let parameters = if mail.parameters.is_none() { String::new() } else { format!(" {}", json(&mail.parameters)) };
                    self.told.push(format!("= mail <{}>{size}{body}{parameters}", mail.reverse_path));
                    self.session.answer(policy(mail.reverse_path.as_str()), &mut self.out);
                }
                Step::Rcpt(to) => {
                    self.told.push(format!("= rcpt <{to}>"));
                    self.session.answer(policy(to.as_str()), &mut self.out);
                }
                Step::Message(message) => {
                    let to: Vec<_> = message.envelope.recipients.iter().map(|to| format!("<{to}>")).collect();
                    let (esmtp, bits) = (if message.esmtp { "" } else { " helo" }, if message.has_8bit { " 8bit" } else { "" });
                    let from = &message.envelope.reverse_path;
                    let tls = if message.tls { " tls" } else { "" };
                    let user = message.user.as_ref().map_or(String::new(), |user| format!(" user={user}"));
                    self.told.push(format!("= message <{from}> to {} by {}{esmtp}{bits}{tls}{user}", to.join(" "), message.helo));
                    self.told.push(format!("= data \"{}\"", message.data.escape_ascii()));
                    if !message.envelope.parameters.rcpts.is_empty() {
                        self.told.push(format!("= asked {}", json(&message.envelope.parameters.rcpts)));
                    }
                    let answer = self.storage(&message.data);
                    self.session.answer_message(&answer, &mut self.out);
                }
            }
        }
    }

    /// The one user is `tim`, the password `tanstaaf`, the token `token`; `trouble` is a user of whom nothing can be said.
    fn check(&mut self, credentials: &Credentials) {
        let user = credentials.user();
        let good = match credentials {
            Credentials::Password { password, .. } => user == "tim" && password.reveal() == "tanstaaf",
            Credentials::Bearer { token, .. } => token.reveal() == "token",
            Credentials::Keys { .. } => {
                self.told.push(format!("= keys of {user}"));
                let keys = ScramKeys::derive("pencil", b"0123456789abcdef", 4096);
                return self.session.scram_keys(&keys, &[0; 18], &mut self.out);
            }
            Credentials::Proven { .. } => true,
        };
        self.told.push(format!("= auth {user}"));
        let verdict = match (good, user) {
            (_, "trouble") => Err(Answer::auth_trouble()),
            (true, _) => Ok("tim".into()),
            (false, _) => Err(Answer::auth_failed()),
        };
        self.session.authenticated(verdict, &mut self.out);
    }

    /// What the relay would say of the message itself.
    fn storage(&mut self, data: &[u8]) -> Answer {
        self.messages += 1;
        if data.starts_with(b"Subject: full") {
            return Answer::full("no room on the disk");
        }
        Answer::queued(format!("M{}", self.messages))
    }

    /// Turns reply bytes into lines.
    fn hear(&mut self) {
        let text = String::from_utf8(std::mem::take(&mut self.out)).expect("replies are ASCII");
        assert!(text.is_empty() || text.ends_with("\r\n"), "{text:?}");
        self.told.extend(text.split_terminator("\r\n").map(|line| format!("S: {line}")));
    }

    fn compare(&mut self, when: &str, expected: &[String]) -> Result<(), String> {
        let told = std::mem::take(&mut self.told);
        if told == expected {
            return Ok(());
        }
        Err(format!("{when}\nexpected:\n  {}\ncame:\n  {}", expected.join("\n  "), told.join("\n  ")))
    }
}

fn json(parameters: &impl serde::Serialize) -> String {
    serde_json::to_string(parameters).unwrap()
}

/// Addresses at `refused.test` are refused, at `later.test` deferred, at `busy.test` told 421.
fn policy(address: &str) -> Result<(), Answer> {
    match address.rsplit('@').next() {
        Some("refused.test") => Err(Answer::not_allowed("not for you")),
        Some("later.test") => Err(Answer::trouble("ask again")),
        Some("busy.test") => Err(Answer::new(421, 3, 2, "come back later")),
        _ => Ok(()),
    }
}

fn read(text: &str) -> Result<Dialogue, String> {
    if !text.starts_with("# ") {
        return Err("the first line states the fact: # ...".into());
    }
    let mut dialogue = Dialogue { limits: SessionLimits::default(), offers: Offers::default(), turns: vec![Turn::default()] };
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let line = &repeated(line)?;
        let sent = match line.split_at_checked(2) {
            Some(("C:", rest)) => [unescape(rest.strip_prefix(' ').unwrap_or(rest))?, b"\r\n".to_vec()].concat(),
            Some(("C~", rest)) => unescape(rest.strip_prefix(' ').unwrap_or(rest))?,
            Some(("S:" | "= ", _)) => {
                dialogue.turns.last_mut().expect("there is a first turn").expected.push(line.clone());
                continue;
            }
            Some(("L:", rest)) => {
                rest.split_whitespace().try_for_each(|word| limit(&mut dialogue.limits, word))?;
                continue;
            }
            Some(("O:", rest)) => {
                rest.split_whitespace().try_for_each(|word| offer(&mut dialogue.offers, word))?;
                continue;
            }
            Some(("T:", _)) => {
                dialogue.turns.push(Turn { tls: true, ..Turn::default() });
                continue;
            }
            _ => return Err(format!("a line begins with C:, C~, S:, =, L:, O:, T: or #, not {line:?}")),
        };
        let last = dialogue.turns.last().expect("there is a first turn");
        if !last.expected.is_empty() {
            dialogue.turns.push(Turn::default());
        }
        dialogue.turns.last_mut().expect("there is a first turn").sent.extend(sent);
    }
    Ok(dialogue)
}

fn limit(limits: &mut SessionLimits, word: &str) -> Result<(), String> {
    let (name, value) = word.split_once('=').ok_or(format!("{word}: name=number"))?;
    let value: u32 = value.parse().map_err(|_| format!("{word}: not a number"))?;
    match name {
        "line" => limits.line = value as usize,
        "text_line" => limits.text_line = value as usize,
        "recipients" => limits.recipients = value as usize,
        "message_size" => limits.message_size = value.into(),
        "header_size" => limits.header_size = value.into(),
        "bad_commands" => limits.bad_commands = value,
        "idle_commands" => limits.idle_commands = value,
        "refusals" => limits.refusals = value,
        "messages" => limits.messages = value,
        "logins" => limits.logins = value,
        _ => return Err(format!("{name}: no such limit")),
    }
    Ok(())
}

fn offer(offers: &mut Offers, word: &str) -> Result<(), String> {
    match word {
        "starttls" => offers.starttls = true,
        "tls_required" => offers.tls_required = true,
        "auth_in_clear" => offers.auth_in_clear = true,
        "postmaster" => offers.postmaster = Some(Arc::new(Address::new("admin@relay.test").unwrap())),
        "fix" => offers.bare_line_ends = BareLineEnds::Fix,
        "lenient" => offers.lenient = true,
        "table" => offers.table = "listen.app".into(),
        "hold" => offers.hold = Some(Duration::from_secs(86_400)),
        name => offers.auth.push(Mechanism::named(name).ok_or(format!("{name}: no such offer or mechanism"))?),
    }
    Ok(())
}

/// `\{xy*300}` is 300 times xy.
fn repeated(text: &str) -> Result<String, String> {
    let Some((before, rest)) = text.split_once("\\{") else { return Ok(text.to_owned()) };
    let (inside, after) = rest.split_once('}').ok_or("\\{what*times}")?;
    let (what, times) = inside.rsplit_once('*').ok_or("\\{what*times}")?;
    let times = times.parse().map_err(|_| "\\{what*times}")?;
    Ok([before, &what.repeat(times), &repeated(after)?].concat())
}

/// `\r`, `\n`, `\t`, `\0`, `\\`, `\xHH`.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let mut length = 1;
        bytes.push(match after.bytes().next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                length = 3;
                u8::from_str_radix(after.get(1..3).unwrap_or(""), 16).map_err(|e| format!("\\x: {e}"))?
            }
            _ => return Err(format!("no such escape: \\{after}")),
        });
        rest = &after[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}
