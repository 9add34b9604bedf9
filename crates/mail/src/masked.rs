//! Texts for people who may not see whose mailbox it is about.

/// A text with the local part of each address in it hidden: `550 <ann@example.com> no` is `550 <a…@example.com> no`.
pub fn masked_in(text: &str) -> String {
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for (at, _) in text.match_indices('@') {
        let before = &text[done..at];
        let begin = match before.strip_suffix('"').and_then(|quoted| quoted.rfind('"')) {
            Some(quote) => quote,
            None => before
                .rfind(|c: char| c.is_whitespace() || c.is_control() || "<>()[],;:@\"'".contains(c))
                .map_or(0, |end| end + before[end..].chars().next().map_or(0, char::len_utf8)),
        };
        let is_address = text[at + 1..].starts_with(|c: char| c.is_alphanumeric() || c == '[');
        let Some(first) = before[begin..].chars().next().filter(|_| is_address) else { continue };
        out += &before[..begin];
        out.push(first);
        out.push('…');
        done = at;
    }
    out + &text[done..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_in_a_text_is_hidden() {
        for (text, seen) in [
            ("550 5.1.1 <ann@example.com>: no such user", "550 5.1.1 <a…@example.com>: no such user"),
            ("ann@a.test, bob@b.test", "a…@a.test, b…@b.test"),
            ("\"ann lee\"@a.test is unknown", "\"…@a.test is unknown"),
            ("mailto:ann@a.test", "mailto:a…@a.test"),
            ("RCPT TO:<ünï@bücher.test>", "RCPT TO:<ü…@bücher.test>"),
            ("b+ann=a.test@bounce.test", "b…@bounce.test"),
            ("a@b@c.test", "a…@b…@c.test"),
            ("@ alone, and a @ b", "@ alone, and a @ b"),
            ("@example.com", "@example.com"),
            ("", ""),
        ] {
            assert_eq!(masked_in(text), seen, "{text}");
        }
    }
}
