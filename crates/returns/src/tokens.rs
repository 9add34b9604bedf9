//! The relay's reverse-paths in a mail: the address that it was sent to, or one in the mail that it returns (`Return-Path`, the relay's own
//! header field, a `Received` line).

use std::str;

use jiff::Timestamp;
use memchr::memmem;
use posthaste_mail::Address;
use posthaste_verp::{OpenedPath, Verp};

/// The reverse-path that was found, with the index of the [`Verp`] that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundPath {
    /// One.
    One(usize, OpenedPath),
    /// Several different ones, as in a digest or a quoted conversation. It is not certain which one is meant.
    Several,
    /// None.
    None,
}

/// How much of a mail is searched, in bytes; the same as the reader of reports reads.
const MAIL_MAX: usize = 1 << 20;
/// The most addresses that are opened: each costs a hash.
const TRIED_MAX: usize = 200;

/// The reverse-path of a mail. The addresses that it was sent to decide, or else the content of the mail. A mail that was sent to several
/// different ones is no report: each copy of a message has a path of its own.
pub(super) fn find(verps: &[Verp], rcpts: &[Option<Address>], mail: &[u8], now: Timestamp) -> FoundPath {
    let mut best = FoundPath::None;
    for rcpt in rcpts.iter().flatten() {
        for (i, verp) in verps.iter().enumerate() {
            best = better(best, i, verp.open(rcpt, now));
        }
        if best == FoundPath::Several {
            return best;
        }
    }
    if best != FoundPath::None {
        return best;
    }
    let mail = &mail[..mail.len().min(MAIL_MAX)];
    match inside(verps, mail, now) {
        // Quoted-printable breaks long lines in two.
        FoundPath::None => joined(mail).map_or(FoundPath::None, |mail| inside(verps, &mail, now)),
        found => found,
    }
}

fn inside(verps: &[Verp], mail: &[u8], now: Timestamp) -> FoundPath {
    let mut best = FoundPath::None;
    let mut tried = 0;
    for (i, verp) in verps.iter().enumerate() {
        let lower = mail.to_ascii_lowercase();
        let behind = format!("@{}", verp.domain());
        for at in memmem::find_iter(&lower, behind.as_bytes()) {
            let Some(address) = around(mail, at, behind.len()) else { continue };
            if tried == TRIED_MAX {
                return best;
            }
            tried += 1;
            best = better(best, i, verp.open(&address, now));
            if best == FoundPath::Several {
                return best;
            }
        }
    }
    best
}

/// The better of two: a valid one before an expired one before a forged one. Two different valid ones are `Several`.
fn better(best: FoundPath, verp: usize, opened: OpenedPath) -> FoundPath {
    let rank = |o: &OpenedPath| match o {
        OpenedPath::Valid(_) => 3,
        OpenedPath::Expired(_) => 2,
        OpenedPath::Forged => 1,
        OpenedPath::NotOurs => 0,
    };
    match (best, opened) {
        (_, OpenedPath::NotOurs) => best,
        (FoundPath::One(_, OpenedPath::Valid(one)), OpenedPath::Valid(other)) if one != other => FoundPath::Several,
        (FoundPath::One(_, old), new) if rank(&old) >= rank(&new) => best,
        _ => FoundPath::One(verp, opened),
    }
}

/// The address whose '@' is at `at`, if its domain ends after `behind` bytes.
fn around(mail: &[u8], at: usize, behind: usize) -> Option<Address> {
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'=' | b'_' | b'.');
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
