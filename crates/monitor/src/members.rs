//! The members of a line, read the way the relay writes them: one object without blanks, whose texts mostly hold no escapes. A parser for any
//! JSON takes several times as long, and whoever counts the log reads all of it.

use memchr::memchr2;

use crate::LogText;

/// A member's value as it stands in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberValue<'a> {
    /// A string without escapes.
    Text(&'a str),
    /// A number that is a whole one and not negative.
    Number(u64),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// JSON of another kind, known to be sound: a string with escapes, an array, an object.
    Json(&'a str),
}

impl<'a> MemberValue<'a> {
    /// The text; None if it is none.
    pub fn text(self) -> Option<LogText<'a>> {
        match self {
            Self::Text(text) => Some(text.into()),
            Self::Json(json) => serde_json::from_str(json).ok(),
            Self::Number(_) | Self::Bool(_) | Self::Null => None,
        }
    }

    /// The JSON, if it is not given as a value of another kind.
    pub fn json(self) -> Option<&'a str> {
        if let Self::Json(json) = self { Some(json) } else { None }
    }
}

/// Calls back for each member of a line, in their order. None: the callback said so, or the line is not written as the relay writes it; then
/// only a parser for any JSON can tell whether it is whole.
pub fn each_member<'a>(line: &'a str, mut each: impl FnMut(&'a str, MemberValue<'a>) -> Option<()>) -> Option<()> {
    // No string may hold a control character, and the relay writes none between members. Looking for the lowest byte takes many at a time.
    if line.bytes().fold(u8::MAX, u8::min) < b' ' {
        return None;
    }
    let mut rest = line.strip_prefix('{')?;
    loop {
        let (name, after) = plain_text(rest)?;
        let (value, after) = value(after.strip_prefix(':')?)?;
        each(name, value)?;
        rest = match after.as_bytes() {
            [b',', ..] => &after[1..],
            b"}" => return Some(()),
            _ => return None,
        };
    }
}

/// A string without escapes at the beginning, and what follows it.
fn plain_text(from: &str) -> Option<(&str, &str)> {
    let from = from.strip_prefix('"')?;
    let end = memchr2(b'"', b'\\', from.as_bytes())?;
    (from.as_bytes()[end] == b'"').then(|| (&from[..end], &from[end + 1..]))
}

fn value(from: &str) -> Option<(MemberValue<'_>, &str)> {
    match *from.as_bytes().first()? {
        b'"' => match plain_text(from) {
            Some((text, after)) => Some((MemberValue::Text(text), after)),
            None => json(from, end_of_text(from.as_bytes())?),
        },
        b'0'..=b'9' => number(from),
        b'[' | b'{' => json(from, end_of_nested(from.as_bytes())?),
        b't' => Some((MemberValue::Bool(true), from.strip_prefix("true")?)),
        b'f' => Some((MemberValue::Bool(false), from.strip_prefix("false")?)),
        b'n' => Some((MemberValue::Null, from.strip_prefix("null")?)),
        _ => None,
    }
}

/// Digits that fit and that no other number begins with.
fn number(from: &str) -> Option<(MemberValue<'_>, &str)> {
    let length = from.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, after) = from.split_at(length);
    let goes_on = after.starts_with(['.', 'e', 'E']) || (length > 1 && digits.starts_with('0'));
    if goes_on { None } else { Some((MemberValue::Number(digits.parse().ok()?), after)) }
}

fn json(from: &str, end: usize) -> Option<(MemberValue<'_>, &str)> {
    let (json, after) = (from.get(..end)?, from.get(end..)?);
    serde_json::from_str::<serde::de::IgnoredAny>(json).ok()?;
    Some((MemberValue::Json(json), after))
}

/// Where the string at the beginning ends.
fn end_of_text(from: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', from.get(at..)?)?;
        match from[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// Where the array or object at the beginning ends.
fn end_of_nested(from: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_u32);
    loop {
        match *from.get(at)? {
            b'"' => {
                at += end_of_text(&from[at..])?;
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth == 1 => return Some(at + 1),
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}
