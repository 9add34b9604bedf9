//! One command line, parsed once (RFC 5321 §4.1.1).

use std::sync::Arc;

use posthaste_mail::{Address, BodyKind};

use super::{
    Answer, MailRequest, auth,
    fault::Fault,
    path::{self, Bracketed, PathError},
};

/// The longest name in EHLO (RFC 5321 §4.5.3.1.2).
const HELLO_MAX: usize = 255;
/// RFC 1870 §3: a size has at most 20 digits.
const SIZE_DIGITS_MAX: usize = 20;

/// A command that is well-formed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Hello { name: Arc<str>, extended: bool },
    Mail(MailRequest),
    Rcpt(Address),
    Data,
    StartTls,
    Auth { mechanism: String, initial: Option<Vec<u8>> },
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
}

/// Parses a line without its CRLF.
pub(super) fn parse(line: &[u8]) -> Result<Command, Fault> {
    // RFC 5321 §4.1.1: blanks before the CRLF are forgiven.
    let line = line.trim_ascii_end();
    let (verb, rest) = split_verb(line);
    let verb = verb.to_ascii_uppercase();
    let verb = verb.as_slice();
    let rest = printable_ascii(verb, rest)?;
    match verb {
        b"EHLO" => hello(rest, true),
        b"HELO" => hello(rest, false),
        b"MAIL" => mail(rest),
        b"RCPT" => rcpt(rest),
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
        // Its bytes are on their way already, and are no commands.
        b"BDAT" => Err(Fault::fatal("command", "not_offered", Answer::new(502, 5, 1, "CHUNKING is not offered here"))),
        b"GET" | b"POST" | b"PUT" | b"HEAD" | b"DELETE" | b"OPTIONS" | b"PATCH" | b"CONNECT" => {
            Err(Fault::fatal("command", "not_smtp", Answer::new(500, 5, 1, "this is SMTP, not HTTP")))
        }
        _ => Err(Fault::unknown()),
    }
}

fn split_verb(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', line) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &[]),
    }
}

/// Refuses control characters, and bytes above 127 (RFC 6531's addresses are not offered).
fn printable_ascii<'a>(verb: &[u8], rest: &'a [u8]) -> Result<&'a str, Fault> {
    let eight_bit = || {
        let answer = Answer::new(553, 6, 7, "only ASCII addresses are taken: SMTPUTF8 is not offered");
        let given = String::from_utf8_lossy(rest);
        let given = given.split_once(':').map_or(&*given, |(_, path)| path.trim_start());
        (answer, given.to_owned())
    };
    let plain = |b: &u8| matches!(b, b' '..=b'~');
    if rest.iter().all(plain) {
        return Ok(str::from_utf8(rest).expect("all of it is ASCII"));
    }
    let only_eight_bit = rest.iter().all(|b| plain(b) || *b > 127);
    match verb {
        b"MAIL" if only_eight_bit => {
            let (answer, given) = eight_bit();
            Err(Fault::refusal("mail", "not_ascii", answer).about(&given))
        }
        b"RCPT" if only_eight_bit => {
            let (answer, given) = eight_bit();
            Err(Fault::refusal("rcpt", "not_ascii", answer).about(&given))
        }
        b"EHLO" | b"HELO" => Err(bad_hello()),
        _ => Err(Fault::junk("command", "syntax", Answer::new(500, 5, 2, "a command is printable ASCII"))),
    }
}

fn alone(rest: &str, label: &'static str, command: Command) -> Result<Command, Fault> {
    if rest.trim_ascii().is_empty() { Ok(command) } else { Err(Fault::arguments(label, "this command takes no argument")) }
}

/// RFC 5321 §4.1.1.1. Underscores are let pass: hosts have them.
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

fn bad_hello() -> Fault {
    Fault::junk("ehlo", "bad_hello", Answer::new(501, 5, 4, "say EHLO and your host name, or your address in brackets"))
}

/// RFC 4954 §4.
fn auth(rest: &str) -> Result<Command, Fault> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let (Some(mechanism), initial, None) = (words.next(), words.next(), words.next()) else {
        return Err(Fault::arguments("auth", "say AUTH and a mechanism"));
    };
    let initial = initial.map(auth::initial_response).transpose()?;
    Ok(Command::Auth { mechanism: mechanism.to_owned(), initial })
}

fn mail(rest: &str) -> Result<Command, Fault> {
    let Some(rest) = strip_keyword(rest, "FROM:") else {
        return Err(Fault::arguments("mail", "say MAIL FROM:<address>"));
    };
    let Bracketed { inner, rest } = path::bracketed(rest).map_err(|e| bad_sender(rest, &e))?;
    let reverse_path = path::reverse(inner).map_err(|e| bad_sender(inner, &e))?;
    let mut request = MailRequest { reverse_path, size: None, body: BodyKind::default() };
    mail_parameters(rest, &mut request).map_err(|answer| Fault::refusal("mail", "bad_parameter", answer).about(inner))?;
    Ok(Command::Mail(request))
}

fn mail_parameters(rest: &str, request: &mut MailRequest) -> Result<(), Answer> {
    let mut body_given = false;
    for (keyword, value) in path::parameters(rest).map_err(|e| Answer::new(501, 5, 4, e.to_string()))? {
        if keyword.eq_ignore_ascii_case("SIZE") && request.size.is_none() {
            request.size = Some(size(value)?);
        } else if keyword.eq_ignore_ascii_case("BODY") && !body_given {
            request.body = body(value)?;
            body_given = true;
        } else if keyword.eq_ignore_ascii_case("SIZE") || keyword.eq_ignore_ascii_case("BODY") {
            return Err(Answer::new(501, 5, 4, format!("{} is given twice", keyword.to_ascii_uppercase())));
        } else {
            return Err(unknown_parameter(keyword));
        }
    }
    Ok(())
}

/// RFC 1870 §3. Twenty digits can be more than 64 bits hold: too large in any case.
fn size(value: Option<&str>) -> Result<u64, Answer> {
    match value {
        Some(digits) if digits.len() <= SIZE_DIGITS_MAX && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Err(Answer::new(501, 5, 4, "SIZE is a number of bytes")),
    }
}

/// RFC 6152 §2.
fn body(value: Option<&str>) -> Result<BodyKind, Answer> {
    match value {
        Some(v) if v.eq_ignore_ascii_case("7BIT") => Ok(BodyKind::SevenBit),
        Some(v) if v.eq_ignore_ascii_case("8BITMIME") => Ok(BodyKind::EightBitMime),
        _ => Err(Answer::new(501, 5, 4, "BODY is 7BIT or 8BITMIME")),
    }
}

fn rcpt(rest: &str) -> Result<Command, Fault> {
    let Some(rest) = strip_keyword(rest, "TO:") else {
        return Err(Fault::arguments("rcpt", "say RCPT TO:<address>"));
    };
    let Bracketed { inner, rest } = path::bracketed(rest).map_err(|e| bad_recipient(rest, &e))?;
    let recipient = path::forward(inner).map_err(|e| bad_recipient(inner, &e))?;
    let parameters =
        path::parameters(rest).map_err(|e| Fault::refusal("rcpt", "bad_parameter", Answer::new(501, 5, 4, e.to_string())).about(inner))?;
    match parameters.first() {
        None => Ok(Command::Rcpt(recipient)),
        Some((keyword, _)) => Err(Fault::refusal("rcpt", "bad_parameter", unknown_parameter(keyword)).about(inner)),
    }
}

/// RFC 5321 §4.1.1.11: 555.
fn unknown_parameter(keyword: &str) -> Answer {
    Answer::new(555, 5, 4, format!("parameter {} is not offered", &keyword[..keyword.len().min(40)]))
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

fn strip_keyword<'a>(rest: &'a str, keyword: &str) -> Option<&'a str> {
    let rest = rest.trim_start_matches(' ');
    let (head, tail) = rest.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then_some(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &[u8]) -> (u16, &'static str) {
        let fault = parse(line).expect_err("this line is refused");
        (fault.answer.code, fault.reason)
    }

    #[test]
    fn sizes_are_numbers_and_overflow_to_too_large() {
        let size_of = |text: &str| match parse(format!("MAIL FROM:<a@b.c> SIZE={text}").as_bytes()) {
            Ok(Command::Mail(request)) => request.size,
            _ => None,
        };
        assert_eq!(size_of("0"), Some(0));
        assert_eq!(size_of("00000000000000000099"), Some(99));
        assert_eq!(size_of("99999999999999999999"), Some(u64::MAX));
        for bad in ["", "-1", "+1", "1e3", "999999999999999999999", "0x10"] {
            assert_eq!(size_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn verbs_and_keywords_come_in_any_case() {
        for line in ["mail from:<> body=8bitmime size=5", "MAIL FROM: <>  SIZE=5 BODY=8BITMIME  "] {
            let Ok(Command::Mail(request)) = parse(line.as_bytes()) else { panic!("{line}") };
            assert_eq!((request.size, request.body, request.reverse_path.is_null()), (Some(5), BodyKind::EightBitMime, true));
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
            (b"MAIL FROM:<a@b.c> SMTPUTF8", (555, "bad_parameter")),
            (b"MAIL FROM:<\xc3\xa9@b.c>", (553, "not_ascii")),
            (b"RCPT TO:<>", (501, "bad_address")),
            (b"RCPT TO:<postmaster>", (550, "bad_address")),
            (b"RCPT TO:<a@b.c> NOTIFY=NEVER", (555, "bad_parameter")),
            (b"RCPT TO:<a@b.c>NOTIFY=NEVER", (501, "bad_parameter")),
            (b"EHLO", (501, "bad_hello")),
            (b"EHLO a b", (501, "bad_hello")),
            (b"EHLO [a", (501, "bad_hello")),
            (b"EHLO \xc3\xa9", (501, "bad_hello")),
            (b"DATA now", (501, "syntax")),
            (b"EXPN list", (502, "not_offered")),
            (b"POST / HTTP/1.1", (500, "not_smtp")),
        ] {
            assert_eq!(code(line), expected, "{:?}", String::from_utf8_lossy(line));
        }
    }
}
