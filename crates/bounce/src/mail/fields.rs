//! Blocks of `Name: value` lines in reports and headers (RFC 3464 §2.1, RFC 5322 §2.2), read leniently; and addresses in text.

/// One block. Names are in lower case, values unfolded.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldBlock(Vec<(String, String)>);

/// The most lines that are read.
const LINES_MAX: usize = 4000;
/// The longest value kept, in bytes.
const VALUE_MAX: usize = 4096;

impl FieldBlock {
    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.0.push((name.trim().to_ascii_lowercase(), crate::text::head(value.trim(), VALUE_MAX).to_owned()));
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    fn unfold(&mut self, more: &str) {
        if let Some((_, value)) = self.0.last_mut()
            && value.len() < VALUE_MAX
        {
            value.push(' ');
            value.push_str(crate::text::head(more.trim(), VALUE_MAX));
        }
    }
}

/// The blocks of a text. A block ends at an empty line, and where one of the `openers` occurs a second time (in reports that lost their
/// empty lines).
pub(super) fn blocks(text: &str, openers: &[&str]) -> Vec<FieldBlock> {
    let mut blocks = Vec::new();
    let mut block = FieldBlock::default();
    for line in text.lines().take(LINES_MAX) {
        if line.trim().is_empty() {
            blocks.push(std::mem::take(&mut block));
        } else if line.starts_with([' ', '\t']) && !block.is_empty() {
            block.unfold(line);
        } else if let Some((name, value)) = line.split_once(':').filter(|(n, _)| is_name(n)) {
            if openers.iter().any(|o| name.trim().eq_ignore_ascii_case(o)) && block.has(&name.trim().to_ascii_lowercase()) {
                blocks.push(std::mem::take(&mut block));
            }
            block.push(name, value);
        } else {
            block.unfold(line);
        }
    }
    blocks.push(block);
    blocks.retain(|b| !b.is_empty());
    blocks
}

fn is_name(name: &str) -> bool {
    let name = name.trim();
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Whether a text is a routed address such as `@relay.example:ann@store` (RFC 5321 §4.1.2 `A-d-l`). Systems that route mail internally
/// may still report these.
pub(super) fn is_routed(text: &str) -> bool {
    let Some((route, mailbox)) = text.strip_prefix('@').and_then(|t| t.rsplit_once(':')) else { return false };
    let is_host = |h: &str| !h.is_empty() && h.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    route.split(',').all(|hop| is_host(hop.trim_start_matches('@')))
        && mailbox.split_once('@').is_some_and(|(l, d)| !l.is_empty() && !d.is_empty())
}

/// The address in a field: `rfc822; a@b.org`, `<a@b.org> (comment)`, `"A" <a@b.org>`; if there is none, the first word of the value.
pub(super) fn address(value: &str) -> Option<String> {
    let value = match value.split_once(';') {
        Some((kind, rest)) if !kind.contains('@') => rest,
        _ => value,
    };
    let value = value.trim();
    if let Some(found) = addresses(value).into_iter().next() {
        return Some(found.to_owned());
    }
    let bare = value.trim_matches(|c: char| matches!(c, '<' | '>' | '"' | '\'' | ' ')).split_whitespace().next()?;
    (!bare.is_empty()).then(|| bare.to_owned())
}

/// The addresses in a text, in their order: `local@domain` with a dot in the domain.
pub(super) fn addresses(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('@').take(200) {
        let inner = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
        let start = match text[..at].strip_suffix('"').and_then(|t| t.rfind('"')) {
            Some(quote) => quote,
            None => text[..at].rfind(|c| !inner(c)).map_or(0, |i| i + text[i..].chars().next().map_or(1, char::len_utf8)),
        };
        let rest = &text[at + 1..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') || !c.is_ascii() && c.is_alphanumeric()))
            .unwrap_or(rest.len());
        let domain = rest[..end].trim_end_matches(['.', '-']);
        let local = text[start..at].trim_start_matches(['\'', '.', '/', '*', '-']);
        if !local.is_empty() && local.len() <= 128 && domain.len() >= 3 && domain.contains('.') {
            let from = at - local.len();
            found.push(&text[from..at + 1 + domain.len()]);
        }
    }
    found
}
