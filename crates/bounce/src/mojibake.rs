//! Repair of UTF-8 that was taken for Latin-1 or Windows-1252 and encoded as UTF-8 again: `BoÃ®te pleine`. It is undone only where
//! that is certain.

use std::borrow::Cow;

/// The text as it was meant. A text that is not broken throughout is left as it is.
pub(crate) fn repaired(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    // Some texts are encoded twice, by two hosts.
    let once = undone(text);
    let twice = once.as_deref().filter(|t| !t.is_ascii()).and_then(undone);
    twice.or(once).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The text with one such encoding undone, if its bytes in Latin-1 are UTF-8. Then they were nearly certainly meant as UTF-8: a Latin-1
/// text has an accented letter here and there between others, but in UTF-8 read as Latin-1, each of them is followed by one to three signs
/// that no language puts there.
fn undone(text: &str) -> Option<String> {
    let bytes: Vec<u8> = text.chars().map(byte_of).collect::<Option<_>>()?;
    let (mut out, mut good, mut bad) = (String::with_capacity(text.len()), 0, 0);
    let mut rest = &bytes[..];
    while let Some((first, more)) = rest.split_first() {
        let len = match first {
            0..0x80 => {
                out.push(char::from(*first));
                rest = more;
                continue;
            }
            0xc2..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf5 => 4,
            _ => 1,
        };
        match whole(rest, len) {
            Some(c) => {
                out.push(c);
                good += 1;
                rest = &rest[len..];
            }
            None => {
                out.push(' ');
                bad += 1;
                rest = more;
            }
        }
    }
    // A cut or lost byte is tolerated in a text that is otherwise broken in this way.
    (good > 0 && bad * FORGIVEN <= good).then_some(out)
}

/// One of this many characters may be damaged.
const FORGIVEN: usize = 8;

/// The character of `len` bytes at the start of `bytes`. A no-break space (0xA0) in it may have become a blank.
fn whole(bytes: &[u8], len: usize) -> Option<char> {
    let mut unit = [0; 4];
    let unit = &mut unit[..len];
    unit.copy_from_slice(bytes.get(..len)?);
    unit[1..].iter_mut().filter(|b| **b == b' ').for_each(|b| *b = 0xa0);
    std::str::from_utf8(unit).ok()?.chars().next()
}

/// The byte that is this character in Latin-1 or Windows-1252.
fn byte_of(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ 0..=0xff => Some(code as u8),
        _ => WINDOWS_1252.iter().position(|w| *w == c).map(|at| 0x80 + at as u8),
    }
}

/// The characters of Windows-1252 at 0x80 to 0x9F, in place of control characters; its gaps stay control characters.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–',
    '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The text of bytes in an unknown charset: UTF-8 if they are valid UTF-8, else Windows-1252, in which every byte is valid.
pub(crate) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        // The text was cut in the middle of a character.
        Err(e) if e.error_len().is_none() => String::from_utf8_lossy(&bytes[..e.valid_up_to()]),
        Err(_) => {
            bytes.iter().map(|b| if (0x80..0xa0).contains(b) { WINDOWS_1252[usize::from(b - 0x80)] } else { char::from(*b) }).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a host that takes every byte for a character would pass it on.
    fn broken(text: &str) -> String {
        text.bytes().map(char::from).collect()
    }

    #[test]
    fn what_was_taken_for_latin_1_is_read_as_it_was_meant() {
        for text in ["Boîte pleine", "Empfänger unbekannt", "почтовый ящик переполнен", "宛先が存在しません", "הקבוצה"]
        {
            assert_eq!(repaired(&broken(text)), text);
            assert_eq!(repaired(&broken(&broken(text))), text);
        }
        assert_eq!(repaired("BoÃ®te archivÃ©e â€” rÃ©essayez"), "Boîte archivée — réessayez");
        assert_eq!(repaired(&broken("את ההודעה אין אפשרות").replace('\u{a0}', " ")), "את ההודעה אין אפשרות");
    }

    #[test]
    fn what_is_sound_stays() {
        for text in ["Boîte pleine", "Größe überschritten", "ящик", "naïve é ©", "Ünbekannt «nom» 50 £", "übÃ", "宛先 é"]
        {
            assert_eq!(repaired(text), text);
        }
    }

    #[test]
    fn bytes_of_no_charset_keep_their_accents() {
        assert_eq!(text_of(b"bo\xeete pleine \x96 r\xe9essayez"), "boîte pleine – réessayez");
        assert_eq!(text_of("é".as_bytes()), "é");
        assert_eq!(text_of(&"éé".as_bytes()[..3]), "é");
    }
}
