//! The relay's codes in a mail: the reverse-paths that it was sent to, or else a code in its content (`Return-Path`, a `Received` line, the
//! relay's own header field).

use std::str;

use jiff::Timestamp;
use memchr::memmem;
use posthaste_mail::Address;
use posthaste_verp::{FIELD_CODE, OpenedPath, PathToken, Verp};

/// A valid code, with the index of the [`Verp`] that opened it.
pub(super) type Code = (usize, PathToken);

/// The codes of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Codes {
    /// It was sent to these reverse-paths, each once.
    Paths(Vec<Code>),
    /// It was sent to no reverse-path, and one code stands in its content.
    Inside(Code),
    /// As before, but with several codes in its content, as in a digest or a quoted conversation. It is not certain which one is meant.
    Several,
    /// The code is too old.
    Expired,
    /// Nobody here made the code.
    Forged,
    /// None.
    None,
}

/// How much of a mail is searched, in bytes; the same as the reader of reports reads.
const MAIL_MAX: usize = 1 << 20;
/// How much of its own header is searched for the address that a fetched mail was sent to, in bytes.
const HEADER_MAX: usize = 64 << 10;
/// The most addresses that are opened: each costs a hash.
const TRIED_MAX: usize = 200;
/// The most reverse-paths of one mail that are judged. A report goes to one; RFC 5321 §4.5.3.1.8 asks for room for a hundred recipients.
pub(crate) const PATHS_MAX: usize = 100;

/// The codes of a mail that was sent to `rcpts`; None stands for an address that is not known, because the mail was fetched.
pub(super) fn find(verps: &[Verp], rcpts: &[Option<Address>], mail: &[u8], now: Timestamp) -> Codes {
    let mail = &mail[..mail.len().min(MAIL_MAX)];
    let fetched = if rcpts.contains(&None) { addressed(verps, mail) } else { Vec::new() };
    let (mut paths, mut worse) = (Vec::new(), Codes::None);
    for address in rcpts.iter().flatten().chain(&fetched) {
        for (i, verp) in verps.iter().enumerate() {
            match verp.open(address, now) {
                OpenedPath::Valid(token) if !paths.contains(&(i, token)) => paths.push((i, token)),
                OpenedPath::Expired(_) => worse = Codes::Expired,
                OpenedPath::Forged if worse == Codes::None => worse = Codes::Forged,
                OpenedPath::Valid(_) | OpenedPath::Forged | OpenedPath::NotOurs => {}
            }
        }
        if paths.len() == PATHS_MAX {
            break;
        }
    }
    match (paths.is_empty(), worse) {
        (false, _) => Codes::Paths(paths),
        // Quoted-printable breaks long lines in two.
        (true, Codes::None) => match inside(verps, mail, now) {
            Codes::None => joined(mail).map_or(Codes::None, |mail| inside(verps, &mail, now)),
            found => found,
        },
        (true, worse) => worse,
    }
}

/// The addresses at our domains in those fields of a fetched mail's own header that say where it was sent to: the server that took it wrote
/// them, or the host that reports. Whoever can write a reverse-path there could as well send to it.
fn addressed(verps: &[Verp], mail: &[u8]) -> Vec<Address> {
    let header = &mail[..mail.len().min(HEADER_MAX)];
    let end = [&b"\r\n\r\n"[..], b"\n\n"].into_iter().filter_map(|end| memmem::find(header, end)).min();
    let header = &header[..end.unwrap_or(header.len())];
    let mut found = Vec::new();
    let mut is_wanted = false;
    for line in header.split(|byte| *byte == b'\n') {
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii_end();
            is_wanted = ADDRESSED.iter().any(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes()));
        }
        if is_wanted && found.len() < TRIED_MAX {
            found.extend(verps.iter().flat_map(|verp| at_domain(line, verp.domain().as_str())));
        }
    }
    found
}

/// The fields that say where a mail was sent to.
const ADDRESSED: [&str; 6] = ["Delivered-To", "X-Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "To"];

/// The code in the content of a mail: a reverse-path or the relay's own header field.
fn inside(verps: &[Verp], mail: &[u8], now: Timestamp) -> Codes {
    let mut best = Codes::None;
    let paths = verps
        .iter()
        .enumerate()
        .flat_map(|(i, verp)| at_domain(mail, verp.domain().as_str()).take(TRIED_MAX).map(move |address| (i, verp.open(&address, now))));
    let fields =
        fields(mail).take(TRIED_MAX).flat_map(|code| verps.iter().enumerate().map(move |(i, verp)| (i, verp.open_field(code, now))));
    for (i, opened) in paths.chain(fields).take(2 * TRIED_MAX) {
        best = better(best, i, opened);
        if best == Codes::Several {
            break;
        }
    }
    best
}

/// The better of two: a valid one before an expired one before a forged one. Two different valid ones are `Several`.
fn better(best: Codes, verp: usize, opened: OpenedPath) -> Codes {
    match (best, opened) {
        (Codes::Inside((_, one)), OpenedPath::Valid(other)) if one != other => Codes::Several,
        (best @ (Codes::Inside(_) | Codes::Several), _) | (best, OpenedPath::NotOurs) => best,
        (_, OpenedPath::Valid(token)) => Codes::Inside((verp, token)),
        (_, OpenedPath::Expired(_)) | (Codes::Expired, OpenedPath::Forged) => Codes::Expired,
        (_, OpenedPath::Forged) => Codes::Forged,
    }
}

/// The values of the relay's own header field, wherever it stands.
fn fields(mail: &[u8]) -> impl Iterator<Item = &str> {
    let name = format!("{}:", posthaste_verp::RETURN_FIELD).to_ascii_lowercase();
    let lower = mail.to_ascii_lowercase();
    let places: Vec<usize> = memmem::find_iter(&lower, name.as_bytes()).map(|at| at + name.len()).take(TRIED_MAX).collect();
    places.into_iter().filter_map(|at| {
        let value = mail[at..].trim_ascii_start();
        let value = value.strip_prefix(b"<").unwrap_or(value);
        let length = value.iter().take(FIELD_CODE + 1).take_while(|byte| byte.is_ascii_alphanumeric()).count();
        (length == FIELD_CODE).then(|| str::from_utf8(&value[..length]).ok()).flatten()
    })
}

/// The addresses at a domain.
fn at_domain(mail: &[u8], domain: &str) -> impl Iterator<Item = Address> {
    let behind = format!("@{domain}");
    let lower = mail.to_ascii_lowercase();
    let places: Vec<usize> = memmem::find_iter(&lower, behind.as_bytes()).take(TRIED_MAX * TRIED_MAX).collect();
    places.into_iter().filter_map(move |at| around(mail, at, behind.len()))
}

/// The address whose '@' is at `at`, if its domain ends after `behind` bytes.
fn around(mail: &[u8], at: usize, behind: usize) -> Option<Address> {
    // Our local parts have nothing else; "smtp.mailfrom=" and BATV's "prvs=" stand before them.
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-');
    let start = mail[..at].iter().rev().take(64).take_while(|b| is_part(b)).count();
    let end = at + behind;
    if mail.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'-') {
        return None;
    }
    Address::new(str::from_utf8(&mail[at - start..end]).ok()?).ok()
}

/// The mail without quoted-printable's soft line breaks; None where it has none.
fn joined(mail: &[u8]) -> Option<Vec<u8>> {
    memmem::find(mail, b"=\r\n").or_else(|| memmem::find(mail, b"=\n"))?;
    let mut out = Vec::with_capacity(mail.len());
    let mut rest = mail;
    while let Some((first, more)) = rest.split_first() {
        match (rest.strip_prefix(b"=\r\n"), rest.strip_prefix(b"=\n")) {
            (Some(more), _) | (None, Some(more)) => rest = more,
            _ => {
                out.push(*first);
                rest = more;
            }
        }
    }
    Some(out)
}
