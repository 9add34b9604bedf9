//! Our reverse-paths in a mail: where it was sent to, or in what it returns (`Return-Path`, a header of ours, a `Received` line).

use std::str;

use jiff::Timestamp;
use memchr::memmem;
use posthaste_mail::Address;
use posthaste_verp::{OpenedPath, Verp};

/// What was found, with the place of the [`Verp`] that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// One.
    One(usize, OpenedPath),
    /// Different ones: a digest, or a conversation that quotes others. None of them is meant for sure.
    Several,
    /// None.
    None,
}

/// What is looked at, in bytes: as much as the reader of reports does.
const MAIL_MAX: usize = 1 << 20;
/// The most addresses that are opened: each costs a hash.
const TRIED_MAX: usize = 200;

/// The address that it was sent to decides; without one of ours there, what the mail holds does.
pub(super) fn find(verps: &[Verp], rcpt: Option<&Address>, mail: &[u8], now: Timestamp) -> Found {
    for (i, verp) in verps.iter().enumerate() {
        match rcpt.map(|rcpt| verp.open(rcpt, now)) {
            Some(OpenedPath::NotOurs) | None => {}
            Some(opened) => return Found::One(i, opened),
        }
    }
    let mail = &mail[..mail.len().min(MAIL_MAX)];
    match inside(verps, mail, now) {
        // Quoted-printable breaks long lines in two.
        Found::None => joined(mail).map_or(Found::None, |mail| inside(verps, &mail, now)),
        found => found,
    }
}

fn inside(verps: &[Verp], mail: &[u8], now: Timestamp) -> Found {
    let mut best = Found::None;
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
            if best == Found::Several {
                return best;
            }
        }
    }
    best
}

/// A valid one before an expired one before a forged one; two that are valid are too many.
fn better(best: Found, verp: usize, opened: OpenedPath) -> Found {
    let rank = |o: &OpenedPath| match o {
        OpenedPath::Valid(_) => 3,
        OpenedPath::Expired(_) => 2,
        OpenedPath::Forged => 1,
        OpenedPath::NotOurs => 0,
    };
    match (best, opened) {
        (_, OpenedPath::NotOurs) => best,
        (Found::One(_, OpenedPath::Valid(one)), OpenedPath::Valid(other)) if one != other => Found::Several,
        (Found::One(_, old), new) if rank(&old) >= rank(&new) => best,
        _ => Found::One(verp, opened),
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
