//! Makes the bytes of a message fit for SMTP: line ends, size, no NUL.

use bytes::{Bytes, BytesMut};
use memchr::{memchr_iter, memchr3_iter};
use posthaste_smtp::server::{Answer, Refused};
use posthaste_submission::ClientLimits;

/// A message whose every line ends in CRLF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    pub(super) data: Bytes,
    pub(super) has_8bit: bool,
}

/// Makes a message fit for SMTP. Programs write files with bare LF; as HTTP gives the length of a message, a bare LF cannot be used for
/// smuggling here, so it becomes CRLF. A bare CR is refused.
pub(super) fn fit(data: Bytes, limits: &ClientLimits) -> Result<Fit, Refused> {
    let ends = Ends::find(&data)?;
    let size = (data.len() + ends.bare + if ends.is_open { 2 } else { 0 }) as u64;
    if size > limits.message_size {
        return Err(Refused::new(Answer::new(552, 3, 4, format!("a message has at most {} bytes here", limits.message_size)), "too_large"));
    }
    if let Some(max) = limits.text_line.filter(|max| ends.longest > *max) {
        return Err(Refused::new(
            Answer::new(550, 6, 0, format!("the message holds a line longer than {max} bytes")),
            "text_line_too_long",
        ));
    }
    let has_8bit = !data.is_ascii();
    if ends.bare == 0 && !ends.is_open {
        return Ok(Fit { data, has_8bit });
    }
    let mut fit = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
    let mut from = 0;
    for at in memchr_iter(b'\n', &data).filter(|at| is_bare(&data, *at)) {
        fit.extend_from_slice(&data[from..at]);
        fit.extend_from_slice(b"\r\n");
        from = at + 1;
    }
    fit.extend_from_slice(&data[from..]);
    if ends.is_open {
        fit.extend_from_slice(b"\r\n");
    }
    Ok(Fit { data: fit.freeze(), has_8bit })
}

/// A message's line ends.
#[derive(Debug, Default)]
struct Ends {
    /// The number of LF without a CR before them.
    bare: usize,
    /// The longest line, in bytes without its end.
    longest: usize,
    /// Whether the last line has no line end.
    is_open: bool,
}

impl Ends {
    fn find(data: &[u8]) -> Result<Self, Refused> {
        let mut ends = Self::default();
        let mut line = 0;
        for at in memchr3_iter(b'\r', b'\n', 0, data) {
            match data[at] {
                0 => return Err(Refused::new(Answer::new(550, 6, 0, "the message holds a NUL byte"), "nul")),
                b'\r' if data.get(at + 1) != Some(&b'\n') => {
                    return Err(Refused::new(Answer::new(550, 6, 0, "CR without LF behind it: lines end in CRLF"), "bare_cr"));
                }
                b'\r' => ends.longest = ends.longest.max(at - line),
                _ => {
                    if is_bare(data, at) {
                        ends.bare += 1;
                        ends.longest = ends.longest.max(at - line);
                    }
                    line = at + 1;
                }
            }
        }
        ends.longest = ends.longest.max(data.len() - line);
        ends.is_open = line < data.len();
        Ok(ends)
    }
}

fn is_bare(data: &[u8], lf: usize) -> bool {
    lf == 0 || data[lf - 1] != b'\r'
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_config::Config;
    use posthaste_host::ThisHost;

    fn limits() -> ClientLimits {
        Config::parse("", "test", &ThisHost).unwrap().limits
    }

    fn fitted(data: &'static [u8]) -> Result<Bytes, &'static str> {
        fit(Bytes::from_static(data), &limits()).map(|f| f.data).map_err(|refused| refused.reason)
    }

    #[test]
    fn every_line_ends_in_crlf_whatever_it_ended_in() {
        for (data, want) in [
            (&b"A: b\r\n\r\nc\r\n"[..], &b"A: b\r\n\r\nc\r\n"[..]),
            (b"A: b\n\nc\n", b"A: b\r\n\r\nc\r\n"),
            (b"A: b\r\n\nc", b"A: b\r\n\r\nc\r\n"),
            (b"\n", b"\r\n"),
            (b"", b""),
            (b"a\n.\nb\n", b"a\r\n.\r\nb\r\n"),
        ] {
            assert_eq!(fitted(data).unwrap(), want);
        }
    }

    #[test]
    fn what_is_fit_is_not_copied() {
        let data = Bytes::from_static(b"A: b\r\n\r\nc\r\n");
        assert_eq!(fit(data.clone(), &limits()).unwrap().data.as_ptr(), data.as_ptr());
    }

    #[test]
    fn a_bare_cr_and_a_nul_are_refused_in_smtps_words() {
        for data in [&b"a\rb\r\n"[..], b"a\r", b"a\r\r\n"] {
            assert_eq!(fitted(data), Err("bare_cr"));
        }
        assert_eq!(fitted(b"a\0\r\n"), Err("nul"));
    }

    #[test]
    fn limits_hold_for_what_is_kept() {
        let limits = ClientLimits { message_size: 10, text_line: Some(4), ..limits() };
        let reason = |data: &'static [u8]| fit(Bytes::from_static(data), &limits).map_err(|refused| refused.reason).err();
        assert_eq!(reason(b"1234\n678\n"), Some("too_large"), "eleven bytes with their line ends");
        assert_eq!(reason(b"1234\n67\n"), None);
        assert_eq!(reason(b"12345\n"), Some("text_line_too_long"));
        assert_eq!(reason(b"12345"), Some("text_line_too_long"));
    }
}
