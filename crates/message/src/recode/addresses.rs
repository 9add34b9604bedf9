//! Lists of addresses whose names are encoded words (RFC 2047 §5).

use super::words::encoded_words;

/// A part of a list of addresses.
enum Token<'a> {
    /// An atom or a quoted string, and what it says.
    Word(&'a [u8], Vec<u8>),
    Blank(&'a [u8]),
    /// With its parentheses.
    Comment(&'a [u8]),
    /// Anything else: `<address>`, `@`, a comma.
    Other(&'a [u8]),
}

impl<'a> Token<'a> {
    fn read(text: &'a [u8]) -> (Self, &'a [u8]) {
        let until = |stops: &dyn Fn(u8) -> bool| text.iter().position(|byte| stops(*byte)).unwrap_or(text.len());
        let special = |byte: u8| b"\"(<>,;:@[]".contains(&byte) || matches!(byte, b' ' | b'\t');
        let length = match text[0] {
            b' ' | b'\t' => until(&|byte| !matches!(byte, b' ' | b'\t')),
            b'"' => closed(text, b'"', b'"'),
            b'(' => closed(text, b'(', b')'),
            b'<' => until(&|byte| byte == b'>').saturating_add(1).min(text.len()),
            first if special(first) => 1,
            _ => until(&special),
        };
        let (raw, rest) = text.split_at(length);
        let token = match raw[0] {
            b' ' | b'\t' => Self::Blank(raw),
            b'"' => Self::Word(raw, unquoted(&raw[1..raw.len().max(2) - 1])),
            b'(' => Self::Comment(raw),
            first if special(first) => Self::Other(raw),
            _ => Self::Word(raw, raw.to_vec()),
        };
        (token, rest)
    }

    fn raw(&self) -> &'a [u8] {
        match self {
            Self::Word(raw, _) | Self::Blank(raw) | Self::Comment(raw) | Self::Other(raw) => raw,
        }
    }

    fn is(&self, special: u8) -> bool {
        matches!(self, Self::Other([byte]) if *byte == special)
    }
}

/// The length of what stands between an opening mark and its closing one, with both.
pub(super) fn closed(text: &[u8], open: u8, close: u8) -> usize {
    let (mut depth, mut bytes) = (0_usize, text.iter().enumerate());
    while let Some((at, byte)) = bytes.next() {
        match *byte {
            b'\\' => drop(bytes.next()),
            byte if byte == close && (open != close || depth > 0) => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            byte if byte == open => depth += 1,
            _ => {}
        }
    }
    text.len()
}

/// Without the backslashes that quote.
pub(super) fn unquoted(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.iter();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    out
}

/// Addresses whose names and comments are encoded. A local part or a domain outside ASCII stays.
pub(super) fn addresses(value: &[u8], charset: &str) -> Vec<u8> {
    let (mut tokens, mut rest) = (Vec::new(), value);
    while !rest.is_empty() {
        let (token, behind) = Token::read(rest);
        tokens.push(token);
        rest = behind;
    }
    let mut out = Vec::with_capacity(value.len() * 2);
    let mut at = 0;
    while at < tokens.len() {
        let words = tokens[at..].iter().take_while(|token| matches!(token, Token::Word(..) | Token::Blank(_))).count();
        let phrase = &tokens[at..at + words];
        let in_address =
            at.checked_sub(1).is_some_and(|before| tokens[before].is(b'@')) || tokens.get(at + words).is_some_and(|next| next.is(b'@'));
        if words > 0 {
            phrase_of(phrase, in_address, charset, &mut out);
            at += words;
            continue;
        }
        match &tokens[at] {
            Token::Comment([_, inner @ .., b')']) if !inner.is_ascii() => {
                out.push(b'(');
                out.extend_from_slice(&encoded_words(&unquoted(inner), charset));
                out.push(b')');
            }
            token => out.extend_from_slice(token.raw()),
        }
        at += 1;
    }
    out
}

fn phrase_of(phrase: &[Token<'_>], in_address: bool, charset: &str, out: &mut Vec<u8>) {
    let is_word = |token: &Token<'_>| matches!(token, Token::Word(..));
    if in_address || phrase.iter().all(|token| token.raw().is_ascii()) {
        return phrase.iter().for_each(|token| out.extend_from_slice(token.raw()));
    }
    let (first, last) = (phrase.iter().position(is_word).unwrap_or(0), phrase.iter().rposition(is_word).unwrap_or(0));
    phrase[..first].iter().for_each(|blank| out.extend_from_slice(blank.raw()));
    let said = phrase[first..=last].iter().flat_map(|token| match token {
        Token::Word(_, said) => said.clone(),
        _ => vec![b' '],
    });
    out.extend_from_slice(&encoded_words(&said.collect::<Vec<u8>>(), charset));
    phrase[last + 1..].iter().for_each(|blank| out.extend_from_slice(blank.raw()));
}
