//! Parses a command line (RFC 5321 §4.1.1).

use std::{borrow::Cow, fmt::Write, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use posthaste_mail::{Address, BodyKind, EsmtpParameters, RcptParameters};

use super::{
    Answer, MailRequest,
    fault::Fault,
    offers::Offered,
    params,
    path::{self, Bracketed, PathError},
};

/// The longest name in EHLO (RFC 5321 §4.5.3.1.2).
const HELLO_MAX: usize = 255;
/// The most digits of a chunk's length; 64 bits need fewer.
const CHUNK_DIGITS_MAX: usize = 20;

/// A well-formed command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Hello { name: Arc<str>, extended: bool },
    Mail(MailRequest),
    Rcpt { recipient: Address, parameters: RcptParameters, needs_utf8: bool },
    Data,
    Bdat { size: u64, last: bool },
    StartTls,
    Auth { mechanism: String, initial: Option<Vec<u8>> },
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
}

/// Parses a line without its CRLF.
pub(super) fn parse(line: &[u8], offered: &Offered) -> Result<Command, Fault> {
    // RFC 5321 §4.1.1: trailing white space is tolerated.
    let line = line.trim_ascii_end();
    let line = if offered.lenient { blanks(line) } else { line.into() };
    let (verb, rest) = split_verb(&line);
    let verb = verb.to_ascii_uppercase();
    let verb = verb.as_slice();
    if offered.lenient && matches!(verb, b"EHLO" | b"HELO") {
        return any_hello(rest, verb == b"EHLO");
    }
    let rest = text(verb, rest)?;
    match verb {
        b"EHLO" => hello(rest, true),
        b"HELO" => hello(rest, false),
        b"MAIL" => mail(rest, offered),
        b"RCPT" => rcpt(rest, offered),
        b"DATA" => alone(rest, "data", Command::Data),
        b"STARTTLS" => alone(rest, "starttls", Command::StartTls),
        b"AUTH" => auth(rest),
        b"RSET" => alone(rest, "command", Command::Rset),
        b"QUIT" => alone(rest, "command", Command::Quit),
        b"NOOP" => Ok(Command::Noop),
        b"HELP" => Ok(Command::Help),
        b"VRFY" if rest.is_empty() => Err(Fault::arguments("command", "VRFY takes a name")),
        b"VRFY" => Ok(Command::Vrfy),
        b"EXPN" | b"ETRN" | b"TURN" | b"SEND" | b"SOML" | b"SAML" => {
            Err(Fault::junk("command", "not_offered", Answer::new(502, 5, 1, "not offered here")))
        }
        b"BDAT" => bdat(rest),
        b"GET" | b"POST" | b"PUT" | b"HEAD" | b"DELETE" | b"OPTIONS" | b"PATCH" | b"CONNECT" => {
            Err(Fault::fatal("command", "not_smtp", Answer::new(500, 5, 1, "this is SMTP, not HTTP")))
        }
        _ => Err(Fault::unknown()),
    }
}

/// The line with a blank for each tab: some clients write one behind the verb or the colon.
fn blanks(line: &[u8]) -> Cow<'_, [u8]> {
    let addressed = [&b"MAIL"[..], b"RCPT"].iter().any(|verb| line.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case(verb)));
    if !addressed || !line.contains(&b'\t') {
        return line.into();
    }
    line.iter().map(|byte| if *byte == b'\t' { b' ' } else { *byte }).collect::<Vec<u8>>().into()
}

fn split_verb(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', line) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &[]),
    }
}

/// Refuses control characters, and bytes above 127 outside MAIL and RCPT (RFC 6531).
fn text<'a>(verb: &[u8], rest: &'a [u8]) -> Result<&'a str, Fault> {
    let label = match verb {
        b"MAIL" => Some("mail"),
        b"RCPT" => Some("rcpt"),
        _ => None,
    };
    let printable = rest.iter().all(|b| matches!(b, b' '..=b'~') || (label.is_some() && *b > 127));
    match (str::from_utf8(rest), label) {
        (Ok(text), _) if printable => Ok(text),
        (Err(_), Some(label)) if printable => {
            let given = String::from_utf8_lossy(rest);
            Err(not_ascii(label, given.split_once(':').map_or(&*given, |(_, path)| path.trim_start())))
        }
        _ if matches!(verb, b"EHLO" | b"HELO") => Err(bad_hello()),
        _ => Err(Fault::junk("command", "syntax", Answer::new(500, 5, 2, "a command is printable ASCII"))),
    }
}

fn alone(rest: &str, label: &'static str, command: Command) -> Result<Command, Fault> {
    if rest.trim_ascii().is_empty() { Ok(command) } else { Err(Fault::arguments(label, "this command takes no argument")) }
}

/// RFC 5321 §4.1.1.1. Underscores are accepted, because host names in use have them.
fn hello(rest: &str, extended: bool) -> Result<Command, Fault> {
    let name = rest.trim_ascii();
    let literal = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let fits = match literal {
        Some(inner) => !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-".contains(&b)),
        None => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)),
    };
    if !fits || name.len() > HELLO_MAX {
        return Err(bad_hello());
    }
    Ok(Command::Hello { name: name.into(), extended })
}

/// Any name that a client gives itself: RFC 5321 §4.1.4 lets no name alone be a reason to refuse mail. What is not printable ASCII is escaped.
fn any_hello(rest: &[u8], extended: bool) -> Result<Command, Fault> {
    let name = rest.trim_ascii();
    if name.is_empty() || name.len() > HELLO_MAX {
        return Err(bad_hello());
    }
    let mut shown = String::with_capacity(name.len());
    for byte in name {
        match byte {
            b' '..=b'~' => shown.push(char::from(*byte)),
            other => write!(shown, "\\x{other:02x}").expect("a String takes all"),
        }
    }
    Ok(Command::Hello { name: shown.into(), extended })
}

fn bad_hello() -> Fault {
    Fault::junk("ehlo", "bad_hello", Answer::new(501, 5, 4, "say EHLO and your host name, or your address in brackets"))
}

/// RFC 4954 §4.
fn auth(rest: &str) -> Result<Command, Fault> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let (Some(mechanism), initial, None) = (words.next(), words.next(), words.next()) else {
        return Err(Fault::arguments("auth", "say AUTH and a mechanism"));
    };
    let initial = initial.map(initial_response).transpose()?;
    Ok(Command::Auth { mechanism: mechanism.to_owned(), initial })
}

/// The initial response: base64, or `=` for an empty one (RFC 4954 §4).
fn initial_response(text: &str) -> Result<Vec<u8>, Fault> {
    if text == "=" { Ok(Vec::new()) } else { STANDARD.decode(text).map_err(|_| Fault::not_base64()) }
}

fn mail(rest: &str, offered: &Offered) -> Result<Command, Fault> {
    let Some(rest) = strip_keyword(rest, "FROM", offered.lenient) else {
        return Err(Fault::arguments("mail", "say MAIL FROM:<address>"));
    };
    let Bracketed { inner, rest } = path::read(rest, offered.lenient).map_err(|e| bad_sender(rest, &e))?;
    let reverse_path = path::reverse(inner).map_err(|e| bad_sender(inner, &e))?;
    let mut request = MailRequest { reverse_path, size: None, body: BodyKind::default(), parameters: EsmtpParameters::default() };
    let about = |answer| Fault::refusal("mail", "bad_parameter", answer).about(inner);
    params::mail(rest, offered, &mut request).map_err(about)?;
    if !inner.is_ascii() && !request.parameters.smtputf8 {
        return Err(not_ascii("mail", inner));
    }
    Ok(Command::Mail(request))
}

fn rcpt(rest: &str, offered: &Offered) -> Result<Command, Fault> {
    let Some(rest) = strip_keyword(rest, "TO", offered.lenient) else {
        return Err(Fault::arguments("rcpt", "say RCPT TO:<address>"));
    };
    let Bracketed { inner, rest } = path::read(rest, offered.lenient).map_err(|e| bad_recipient(rest, &e))?;
    let recipient = match (path::forward(inner), &offered.postmaster) {
        (Err(PathError::Postmaster), Some(postmaster)) => (**postmaster).clone(),
        (found, _) => found.map_err(|e| bad_recipient(inner, &e))?,
    };
    let parameters = params::rcpt(rest).map_err(|answer| Fault::refusal("rcpt", "bad_parameter", answer).about(inner))?;
    Ok(Command::Rcpt { recipient, parameters, needs_utf8: !inner.is_ascii() })
}

/// RFC 3030 §2. Without a readable length, the following bytes cannot be told from commands, so such a fault is fatal.
fn bdat(rest: &str) -> Result<Command, Fault> {
    let wrong = || Fault::fatal("bdat", "syntax", Answer::new(501, 5, 4, "say BDAT, a number of bytes, and perhaps LAST"));
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let (Some(digits), last, None) = (words.next(), words.next(), words.next()) else { return Err(wrong()) };
    if digits.len() > CHUNK_DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let last = last.map_or(Ok(false), |word| if word.eq_ignore_ascii_case("LAST") { Ok(true) } else { Err(wrong()) })?;
    Ok(Command::Bdat { size: digits.parse().unwrap_or(u64::MAX), last })
}

/// RFC 6531 §3.5: 553, X.6.7.
pub(super) fn not_ascii(command: &'static str, given: &str) -> Fault {
    let answer = Answer::new(553, 6, 7, "an address outside ASCII is UTF-8, and its message asks for SMTPUTF8");
    Fault::refusal(command, "not_ascii", answer).about(given)
}

fn bad_sender(given: &str, error: &PathError) -> Fault {
    Fault::refusal("mail", "bad_address", Answer::new(501, 1, 7, error.to_string())).about(given)
}

fn bad_recipient(given: &str, error: &PathError) -> Fault {
    let answer = match error {
        PathError::Postmaster => Answer::new(550, 1, 1, "no mailboxes here: give the address a domain"),
        error => Answer::new(501, 1, 3, error.to_string()),
    };
    Fault::refusal("rcpt", "bad_address", answer).about(given)
}

/// What stands behind the keyword and its colon.
fn strip_keyword<'a>(rest: &'a str, keyword: &str, lenient: bool) -> Option<&'a str> {
    let rest = rest.trim_start_matches(' ');
    let (head, tail) = rest.split_at_checked(keyword.len())?;
    let tail = if lenient { tail.trim_start_matches(' ') } else { tail };
    tail.strip_prefix(':').filter(|_| head.eq_ignore_ascii_case(keyword))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[u8]) -> Result<Command, Fault> {
        parse(line, &Offered { auth: false, require_tls: false, hold: None, priority: false, lenient: false, postmaster: None })
    }

    fn read_leniently(line: &[u8]) -> Result<Command, Fault> {
        parse(
            line,
            &Offered {
                auth: true,
                require_tls: false,
                hold: None,
                priority: false,
                lenient: true,
                postmaster: Address::new("me@x.test").ok().map(Arc::new),
            },
        )
    }

    fn code(line: &[u8]) -> (u16, &'static str) {
        let fault = read(line).expect_err("this line is refused");
        (fault.answer.code, fault.reason)
    }

    #[test]
    fn verbs_and_keywords_come_in_any_case() {
        for line in ["mail from:<> body=8bitmime size=5", "MAIL FROM: <>  SIZE=5 BODY=8BITMIME  "] {
            let Ok(Command::Mail(request)) = read(line.as_bytes()) else { panic!("{line}") };
            assert_eq!((request.size, request.body, request.reverse_path.is_null()), (Some(5), BodyKind::EightBitMime, true));
        }
    }

    #[test]
    fn names_that_are_none_are_taken_leniently_and_shown_in_ascii() {
        for (given, shown) in [
            ("jürgens-pc".as_bytes(), "j\\xc3\\xbcrgens-pc"),
            (b"j\xfcrgens-pc", "j\\xfcrgens-pc"),
            (b"localhost.(none)", "localhost.(none)"),
            (b"[IPv6:fe80::1%4]", "[IPv6:fe80::1%4]"),
            (b" my  host", "my  host"),
            (b"DESKTOP-ABC$", "DESKTOP-ABC$"),
            (b"a\0\tb", "a\\x00\\x09b"),
        ] {
            for verb in ["EHLO ", "helo "] {
                let line = [verb.as_bytes(), given].concat();
                let name = shown.into();
                assert_eq!(read_leniently(&line).unwrap(), Command::Hello { name, extended: verb == "EHLO " });
                assert_eq!(code(&line), (501, "bad_hello"), "{shown}");
            }
        }
        for bad in [&b"EHLO"[..], b"EHLO  ", &[b"EHLO ", &[b'a'; 256][..]].concat()] {
            assert!(read_leniently(bad).is_err_and(|fault| fault.reason == "bad_hello"));
        }
    }

    #[test]
    fn addresses_without_brackets_are_taken_leniently() {
        let sender = |line: &str| match read_leniently(line.as_bytes()) {
            Ok(Command::Mail(request)) => (request.reverse_path.to_string(), request.size),
            other => panic!("{line}: {other:?}"),
        };
        let plain = ("a@x.test".to_owned(), None);
        for line in ["MAIL FROM:\t<a@x.test>", "MAIL\tFROM:\ta@x.test", "MAIL FROM: < a@x.test >", "MAIL  FROM:<\ta@x.test>\t"] {
            assert_eq!(sender(line), plain, "{line}");
            assert!(read(line.as_bytes()).is_err(), "{line}");
        }
        for line in ["MAIL FROM:a@x.test", "MAIL FROM: a@x.test", "mail from : a@x.test", "MAIL FROM:<a@x.test", "MAIL FROM:a@x.test>"] {
            assert_eq!(sender(line), plain, "{line}");
        }
        for line in
            ["MAIL FROM:Shop <a@x.test>", "MAIL FROM:<a@x.test> AUTH=<>", "MAIL FROM:a@x.test AUTH=<>", "MAIL FROM:\"B, Shop\" <a@x.test>"]
        {
            assert_eq!(sender(line), plain, "{line}");
        }
        assert_eq!(sender("MAIL FROM:a@x.test SIZE=100 BODY=8BITMIME"), ("a@x.test".into(), Some(100)));
        assert_eq!(sender("MAIL FROM:\"a b\"@x.test SIZE=100"), ("\"a b\"@x.test".into(), Some(100)));
        assert_eq!(sender("MAIL FROM:<>"), (String::new(), None));
        let line = "RCPT TO:b@y.test NOTIFY=NEVER";
        assert!(matches!(read_leniently(line.as_bytes()), Ok(Command::Rcpt { recipient, .. }) if recipient.as_str() == "b@y.test"));
        for (line, to) in [
            ("RCPT TO:<..@y.test>", "..@y.test"),
            ("RCPT TO: postmaster NOTIFY=NEVER", "me@x.test"),
            ("rcpt to:<Postmaster >", "me@x.test"),
        ] {
            assert!(matches!(read_leniently(line.as_bytes()), Ok(Command::Rcpt { recipient, .. }) if recipient.as_str() == to), "{line}");
        }
        for line in ["MAIL FROM:", "MAIL FROM: SIZE=1", "MAIL a@x.test", "RCPT TO:", "RCPT TO:b@", "RCPT TO:a b@y.test"] {
            assert!(read_leniently(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn each_refused_line_has_its_code_and_reason() {
        for (line, expected) in [
            (&b""[..], (500, "unknown_command")),
            (b" NOOP", (500, "unknown_command")),
            (b"NOOP\tx", (500, "unknown_command")),
            (b"NOOP a\0b", (500, "syntax")),
            (b"MAIL FROM:<a@b.c>\0", (500, "syntax")),
            (b"MAIL TO:<a@b.c>", (501, "syntax")),
            (b"MAIL FROM:a@b.c", (501, "bad_address")),
            (b"MAIL FROM:<a@b.c> SIZE=1 SIZE=1", (501, "bad_parameter")),
            (b"MAIL FROM:<a@b.c> BODY=9BIT", (501, "bad_parameter")),
            (b"MAIL FROM:<a@b.c> REQUIRETLS", (555, "bad_parameter")),
            (b"MAIL FROM:<a@b.c> AUTH=<>", (555, "bad_parameter")),
            (b"MAIL FROM:<a@b.c> HOLDFOR=1", (555, "bad_parameter")),
            (b"MAIL FROM:<\xc3\xa9@b.c>", (553, "not_ascii")),
            (b"MAIL FROM:<a@\xc3\xa9.c>", (553, "not_ascii")),
            (b"MAIL FROM:<\xc3@b.c> SMTPUTF8", (553, "not_ascii")),
            (b"MAIL FROM:<\xc3\xa9\0@b.c> SMTPUTF8", (500, "syntax")),
            (b"RCPT TO:<>", (501, "bad_address")),
            (b"RCPT TO:<postmaster>", (550, "bad_address")),
            (b"RCPT TO:<a@b.c> SIZE=1", (555, "bad_parameter")),
            (b"RCPT TO:<a@b.c>NOTIFY=NEVER", (501, "bad_parameter")),
            (b"EHLO", (501, "bad_hello")),
            (b"EHLO a b", (501, "bad_hello")),
            (b"EHLO [a", (501, "bad_hello")),
            (b"EHLO \xc3\xa9", (501, "bad_hello")),
            (b"DATA now", (501, "syntax")),
            (b"BDAT", (501, "syntax")),
            (b"BDAT -1 LAST", (501, "syntax")),
            (b"BDAT 1 FIRST", (501, "syntax")),
            (b"BDAT 999999999999999999999", (501, "syntax")),
            (b"EXPN list", (502, "not_offered")),
            (b"POST / HTTP/1.1", (500, "not_smtp")),
        ] {
            assert_eq!(code(line), expected, "{:?}", String::from_utf8_lossy(line));
        }
    }
}
