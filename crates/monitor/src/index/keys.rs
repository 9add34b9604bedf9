//! What lines are found by.

use std::hash::Hasher as _;

use fnv::FnvHasher;
use memchr::memmem::{self, Finder};
use posthaste_mail::MessageId;

use crate::record::event_word;

/// What a line is found by.
#[derive(Debug)]
pub struct Key {
    hash: u64,
    /// The text as it stands in a line.
    finder: Finder<'static>,
}

impl Key {
    /// The lines about a message, and those about the notices that were made of it.
    pub fn message(id: MessageId) -> Self {
        let text = id.to_string();
        Self { hash: hash(b'm', text.as_bytes()), finder: Finder::new(text.as_bytes()).into_owned() }
    }

    /// The `accepted` lines of the messages with this Message-ID, with or without angle brackets.
    pub fn message_id(text: &str) -> Self {
        let quoted = serde_json::to_string(bare(text)).expect("a text is JSON");
        let inner = &quoted.as_bytes()[1..quoted.len() - 1];
        Self { hash: hash(b'i', inner), finder: Finder::new(inner).into_owned() }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Whether the line contains the key's text.
    pub(super) fn is_in(&self, line: &[u8]) -> bool {
        self.finder.find(line).is_some()
    }
}

/// The keys of the line before: lines that follow each other and have the same ones get one entry.
#[derive(Debug, Default)]
pub(super) struct Seen {
    keys: [Option<u64>; 3],
}

/// Calls `enter` with each key of a line that the line before does not have.
pub(super) fn of(line: &[u8], last: &mut Seen, mut enter: impl FnMut(u64)) {
    // Quotes inside texts are escaped, so these match the names of fields alone.
    let value = |name: &[u8]| {
        let begin = memmem::find(line, name)? + name.len();
        let end = end_of_text(&line[begin..])?;
        Some(&line[begin..begin + end])
    };
    let message = value(b"\"message\":\"").map(|id| hash(b'm', id));
    let notice_of = value(b"\"notice_of\":\"").map(|id| hash(b'm', id));
    let accepted = message.is_some() && event_word(line) == Some("accepted");
    let given = if accepted { value(b"\"message_id\":\"").map(|id| hash(b'i', bare_bytes(id))) } else { None };
    let keys = [message, notice_of, given];
    for (key, before) in keys.iter().zip(&last.keys) {
        if let Some(key) = key.filter(|_| key != before) {
            enter(key);
        }
    }
    last.keys = keys;
}

/// Where a JSON text ends.
fn end_of_text(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
        match bytes[at] {
            b'"' => return Some(at),
            _ => at += 2,
        }
        if at >= bytes.len() {
            return None;
        }
    }
}

/// A Message-ID without its angle brackets.
pub(crate) fn bare(text: &str) -> &str {
    text.trim_matches(['<', '>', ' '])
}

fn bare_bytes(mut text: &[u8]) -> &[u8] {
    while let [b'<' | b'>' | b' ', rest @ ..] | [rest @ .., b'<' | b'>' | b' '] = text {
        text = rest;
    }
    text
}

/// FNV-1a: tables are kept on disk, so the hash has to be the same in every build.
fn hash(kind: u8, text: &[u8]) -> u64 {
    let mut sum = FnvHasher::default();
    sum.write(&[kind]);
    sum.write(text);
    sum.finish()
}
