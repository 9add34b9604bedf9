//! Who a From, Sender or Resent- field says sends the message (RFC 5322 §3.4), where every reader says the same.
//!
//! Receivers, their users' programs and verifiers read such a field each in their own way. Whatever might be taken for another address than
//! the one that is checked and signed for is refused: what a strict reading does not take, and what a second, lenient reader
//! ([`mail_parser`]) reads differently. An address in a display name is all that many programs show, so it is checked like the mailbox. What
//! has one meaning for all is taken however it is written: quotes that change nothing, and an address that is its own display name.

mod letters;
mod plain;
mod shown;

use std::{borrow::Cow, collections::HashSet};

use mail_parser::parsers::MessageStream;
use posthaste_mail::{Address, Foreign};

pub(super) use self::plain::plain;
#[cfg(test)]
pub(super) use self::plain::tests::nearly_plain;
use self::{
    letters::{DOTS, HIDDEN, ended, is_angle, is_at},
    shown::shown,
};

/// The addresses of a field; none if it names nobody.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mailboxes {
    /// Its mailboxes, in order.
    pub(super) specs: Vec<String>,
    /// Addresses that stand in display names and comments and are none of the mailboxes.
    pub(super) shown: Vec<String>,
}

/// Reads the value of a field. None: one reader may find another address in it than the next.
pub(super) fn read(value: &[u8]) -> Option<Mailboxes> {
    match plain(value) {
        Some(spec) => Some(Mailboxes { specs: vec![spec.to_owned()], shown: Vec::new() }),
        None => carefully(value),
    }
}

/// The same for a field of any shape.
fn carefully(value: &[u8]) -> Option<Mailboxes> {
    let unfolded = unfolded(value)?;
    let text = without_needless_quotes(&unfolded)?;
    let found = match &text {
        Cow::Borrowed(_) => lenient(value),
        Cow::Owned(text) => lenient(text.as_bytes()),
    };
    let mut reader = Reader::default();
    for token in tokens(&text)? {
        reader.take(token)?;
    }
    reader.end()?;
    let Reader { specs, nameless, names, .. } = reader;
    // What stands between commas and is no mailbox belongs to the next one, or is one for a lenient reader.
    if (specs.is_empty() && text.contains(is_at)) || (!specs.is_empty() && nameless) {
        return None;
    }
    if !specs.iter().all(|spec| is_plain(spec)) || found != specs {
        return None;
    }
    let mut shown = shown(&names)?;
    if specs.is_empty() && !shown.is_empty() {
        return None;
    }
    let known: HashSet<String> = specs.iter().flat_map(|spec| [Some(spec.to_ascii_lowercase()), folded(spec)]).flatten().collect();
    let is_known =
        |address: &str| known.contains(&address.to_ascii_lowercase()) || folded(bare(address)).is_some_and(|one| known.contains(&one));
    shown.retain(|address| !is_known(address));
    Some(Mailboxes { specs, shown })
}

/// The value in one line. None if it holds control characters, which readers skip or stop at, or a line of blanks, where some end the header.
fn unfolded(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    let mut lines = text.strip_suffix("\r\n").unwrap_or(&text).split("\r\n").enumerate();
    if lines.any(|(i, line)| (i > 0 && line.trim().is_empty()) || line.contains(|c: char| c.is_control() && c != '\t')) {
        return None;
    }
    Some(text.replace("\r\n", ""))
}

/// The text without quotes around local parts that mean the same without them: `"ab..cd"@example.com` (RFC 5321 §4.1.2). Readers differ in
/// whether they keep such quotes, not in whose address it is. None: a quoted string or comment is read in two ways.
fn without_needless_quotes(text: &str) -> Option<Cow<'_, str>> {
    let (mut plainer, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['"', '(']) {
        let (before, open) = rest.split_at(at);
        let is_quoted = open.starts_with('"');
        let inner = if is_quoted { quoted(&open[1..])? } else { comment(&open[1..])? };
        let (whole, behind) = open.split_at(inner.len() + 2);
        plainer.push_str(before);
        let begins = plainer.chars().next_back().is_none_or(|c| c.is_whitespace() || "<,:;)".contains(c));
        let is_needless = is_quoted && begins && behind.starts_with('@') && is_bare(inner);
        plainer.push_str(if is_needless { inner } else { whole });
        rest = behind;
    }
    plainer.push_str(rest);
    Some(if plainer.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(plainer) })
}

/// Whether nothing in a local part has a meaning for the grammar.
fn is_bare(local: &str) -> bool {
    !local.is_empty() && local.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c))
}

/// A part of a field.
#[derive(Debug, PartialEq, Eq)]
enum Token<'t> {
    /// Neighbours without blanks or special characters.
    Run(&'t str),
    /// The content of a quoted string.
    Quoted(&'t str),
    /// The content of a comment.
    Comment(&'t str),
    /// One of `<>,:;`.
    Special(char),
}

/// The parts of a field. None: a quoted string or comment never ends, or holds what may end it for some readers.
fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => {
                let inner = quoted(&rest[1..])?;
                tokens.push(Token::Quoted(inner));
                inner.len() + 2
            }
            '(' => {
                let inner = comment(&rest[1..])?;
                tokens.push(Token::Comment(inner));
                inner.len() + 2
            }
            '<' | '>' | ',' | ':' | ';' => {
                tokens.push(Token::Special(first));
                1
            }
            ')' | '\\' => return None,
            _ => {
                let run = run(rest);
                tokens.push(Token::Run(run));
                run.len()
            }
        };
        rest = rest[length..].trim_start();
    }
    Some(tokens)
}

/// The content of the quoted string that begins here. None: it never ends, or an escape hides where it ends and there is an address to hide.
fn quoted(text: &str) -> Option<&str> {
    let (mut escaped, mut escapes) = (false, false);
    let end = text.find(|c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        escapes |= escaped;
        ends
    })?;
    Some(&text[..end]).filter(|inner| !(escapes && inner.contains(may_begin_an_address)))
}

/// The content of the comment that begins here. Comments nest (RFC 5322 §3.2.2), but not every reader knows.
fn comment(text: &str) -> Option<&str> {
    let (mut depth, mut escaped, mut is_odd) = (1, false, false);
    let end = text.find(|c: char| {
        match c {
            _ if escaped => {}
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        is_odd |= escaped || depth > 1 || c == '"';
        depth == 0
    })?;
    Some(&text[..end]).filter(|inner| !(is_odd && inner.contains(may_begin_an_address)))
}

/// The longest address literal, in bytes; the longest IPv6 address takes 47.
const LITERAL_MAX: usize = 255;

/// The characters up to a blank or a special one; an address literal behind an '@' may hold a ':'.
fn run(text: &str) -> &str {
    let stop = text.find(is_special).unwrap_or(text.len());
    let literal = text[..stop].find("@[");
    // What is no literal soon is none: looked for to the end of the field, each would cost the whole of it.
    let close = |at: usize| text.as_bytes()[at..].iter().take(LITERAL_MAX).position(|byte| *byte == b']').map(|end| at + end);
    let end = literal.and_then(close).map_or(stop, |from| text[from..].find(is_special).map_or(text.len(), |end| from + end));
    // What is no blank and no special character ends nothing.
    &text[..end.max(text.chars().next().map_or(0, char::len_utf8))]
}

fn is_special(c: char) -> bool {
    c.is_whitespace() || "\"(),:;<>\\".contains(c)
}

fn may_begin_an_address(c: char) -> bool {
    is_at(c) || is_angle(c)
}

/// Where the reading stands.
#[derive(Default)]
struct Reader<'t> {
    specs: Vec<String>,
    /// Whether something between commas is no mailbox.
    nameless: bool,
    /// Display names and comments, each mailbox on its own.
    names: Vec<Vec<&'t str>>,
    words: Vec<Token<'t>>,
    comments: Vec<&'t str>,
    /// What stands between angle brackets, once they are open.
    angle: Option<Option<&'t str>>,
    is_closed: bool,
    in_group: bool,
    behind_group: bool,
}

impl<'t> Reader<'t> {
    /// None: readers do not agree about what comes before and this.
    fn take(&mut self, token: Token<'t>) -> Option<()> {
        let in_angle = self.angle.is_some() && !self.is_closed;
        match token {
            Token::Comment(text) if !in_angle => self.comments.push(text),
            Token::Run(text) if in_angle && self.angle == Some(None) => self.angle = Some(Some(text)),
            Token::Special('>') if in_angle => self.is_closed = true,
            // Behind an angle or a group comes the next mailbox or nothing.
            _ if in_angle => return None,
            Token::Special(',') => self.end_of_mailbox()?,
            Token::Special(';') if self.in_group => {
                self.end_of_mailbox()?;
                (self.in_group, self.behind_group) = (false, true);
            }
            _ if self.is_closed || self.behind_group => return None,
            Token::Special('<') => self.angle = Some(None),
            Token::Special(':') if !self.in_group && !self.words.is_empty() && !self.holds_at() => {
                self.in_group = true;
                self.names.push(self.words.drain(..).map(|word| word.text()).collect());
            }
            word @ (Token::Run(_) | Token::Quoted(_)) => self.words.push(word),
            _ => return None,
        }
        Some(())
    }

    fn end(&mut self) -> Option<()> {
        let is_open = self.in_group || (self.angle.is_some() && !self.is_closed);
        if is_open { None } else { self.end_of_mailbox() }
    }

    fn end_of_mailbox(&mut self) -> Option<()> {
        self.behind_group = false;
        let words = std::mem::take(&mut self.words);
        let name: Vec<&str> = match (self.angle.take(), &*words) {
            // Outside quotes, only the same address may stand before the angle: whichever of the two is read, it is the one.
            (Some(spec), _) if words.iter().any(|word| word.holds_at() && !spec.is_some_and(|spec| is_same(word.text(), spec))) => {
                return None;
            }
            (Some(Some(spec)), _) => {
                self.specs.push(spec.to_owned());
                words.iter().map(Token::text).collect()
            }
            (None, [Token::Run(spec)]) if spec.contains('@') => {
                self.specs.push((*spec).to_owned());
                Vec::new()
            }
            (None, _) if words.iter().any(Token::holds_at) => return None,
            (None, []) => Vec::new(),
            (Some(None), _) | (None, _) => {
                self.nameless = true;
                words.iter().map(Token::text).collect()
            }
        };
        self.is_closed = false;
        self.names.push(name);
        self.names.extend(std::mem::take(&mut self.comments).into_iter().map(|text| vec![text]));
        Some(())
    }

    /// Whether an '@' stands outside quotes in what may be a display name.
    fn holds_at(&self) -> bool {
        self.words.iter().any(Token::holds_at)
    }
}

impl<'t> Token<'t> {
    fn text(&self) -> &'t str {
        match self {
            Token::Run(text) | Token::Quoted(text) | Token::Comment(text) => text,
            Token::Special(_) => "",
        }
    }

    fn holds_at(&self) -> bool {
        matches!(self, Token::Run(text) if text.contains(is_at))
    }
}

/// Whether a word of a display name is this address, in single quotes perhaps, as Outlook writes it.
fn is_same(word: &str, spec: &str) -> bool {
    folded(bare(word)).is_some_and(|address| Some(address) == folded(spec))
}

fn bare(word: &str) -> &str {
    word.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or(word)
}

fn folded(text: &str) -> Option<String> {
    Address::international(text).ok().map(|address| address.folded())
}

/// Whether this is an address for everybody: without encoded words, and without characters that nobody sees or that stand for others.
fn is_plain(spec: &str) -> bool {
    let odd = |c: char| {
        c.is_whitespace() || Foreign::is_obeyed(c) || is_angle(c) || (is_at(c) && c != '@') || DOTS.contains(&c) || HIDDEN.contains(&c)
    };
    Address::international(spec).is_ok() && !spec.contains("=?") && !spec.contains("?=") && !spec.contains(odd)
}

/// The addresses that a lenient reader finds.
fn lenient(value: &[u8]) -> Vec<String> {
    let line = ended(value);
    let found = MessageStream::new(&line).parse_address();
    let addresses = found.as_address().into_iter().flat_map(|all| all.iter()).filter_map(|one| one.address());
    addresses.filter(|address| address.contains('@')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
