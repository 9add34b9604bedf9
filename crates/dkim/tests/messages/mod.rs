//! Messages that signers get wrong.

/// A message in two parts.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    /// The verifiers that are known to misjudge it, all others being of one mind.
    pub(crate) misjudged_by: &'static [&'static str],
    header: Vec<u8>,
    body: Vec<u8>,
}

impl Case {
    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        [&self.header, &self.body]
    }

    /// The message as it goes over the wire, where it always ends in a line end.
    pub(crate) fn whole(&self) -> Vec<u8> {
        let mut whole = self.parts().concat();
        if !whole.ends_with(b"\r\n") {
            whole.extend_from_slice(b"\r\n");
        }
        whole
    }
}

const HEADER: &str = "From: Ann <ann@example.com>\r\nTo: bob@example.org\r\nSubject: Hello\r\nDate: Mon, 23 Nov 2026 10:11:12 +0000\r\nMessage-ID: <1@example.com>\r\n\r\n";

pub(crate) fn cases() -> Vec<Case> {
    let body = |what, body: &str| Case { what, misjudged_by: &[], header: HEADER.into(), body: body.into() };
    let header = |what, header: &[u8]| Case { what, misjudged_by: &[], header: header.to_vec(), body: b"Hello.\r\n".to_vec() };
    let mut cases = vec![
        body("an ordinary body", "Hello.\r\nGood bye.\r\n"),
        body("an empty body", ""),
        body("a body of one empty line", "\r\n"),
        Case { misjudged_by: &["mail-auth"], ..body("a body of blanks", "  \t\r\n \r\n") },
        body("blanks at the ends of lines", "Hello \t \r\nthere  is\tmore \r\n"),
        body("blanks at the starts of lines", "  Hello\r\n\tthere\r\n"),
        body("empty lines at the end", "Hello.\r\n\r\n\r\n\r\n"),
        Case { misjudged_by: &["mail-auth"], ..body("lines of only blanks at the end", "Hello.\r\n \r\n\t\r\n  \r\n") },
        body("lines of only blanks in the middle", "Hello.\r\n \r\n\t \r\nthere\r\n"),
        body("empty lines at the start", "\r\n\r\nHello.\r\n"),
        Case { misjudged_by: &["mail-auth"], ..body("only lines of blanks and empty ones", "\r\n \r\n\r\n\t\t\r\n") },
        body("only empty lines", "\r\n\r\n\r\n"),
        body("no line end at the end", "Hello."),
        body("blanks and no line end at the end", "Hello. \t"),
        body("8-bit text", "Grüße aus Köln – 東京\r\n"),
        body("dots at the starts of lines", ".\r\n..\r\n.hidden\r\n"),
        header("folded fields", b"From: Ann\r\n <ann@example.com>\r\nTo: bob@example.org,\r\n\tcid@example.org\r\nSubject:  a \r\n \t b\r\n\r\n"),
        header("odd blanks and case in names", b"fROM:ann@example.com   \r\nSUBJECT:\t a  b \r\nto:\r\n\r\n"),
        // RFC 5322 §4.5 allowed it once, and RFC 6376 §3.4.2 still deletes it.
        Case { misjudged_by: &["mail-auth", "dkimpy"], ..header("a blank before the colon", b"From: ann@example.com\r\nSubject :a\r\n\r\n") },
        header("no blank behind the colon", b"From:ann@example.com\r\nTo:bob@example.org\r\nSubject:a\r\nDate:Mon, 23 Nov 2026 10:11:12 +0000\r\n\r\n"),
        header("8-bit fields", "From: Jürgen <ann@example.com>\r\nSubject: Grüße\r\n\r\n".as_bytes()),
        header("Latin-1 in a field", b"From: J\xfcrgen <ann@example.com>\r\nSubject: Gr\xfc\xdfe\r\n\r\n"),
        header("repeated fields", b"From: ann@example.com\r\nTo: a@example.org\r\nSubject: 1\r\nTo: b@example.org\r\nTo: c@example.org\r\nSubject: 2\r\n\r\n"),
        header("fields that are not signed in between", b"X-A: 1\r\nFrom: ann@example.com\r\nX-B: 2\r\n\r\n"),
        header("an empty subject", b"From: ann@example.com\r\nSubject:\r\n\r\n"),
        header("mailing-list fields", b"From: ann@example.com\r\nList-Unsubscribe: <https://example.com/u/1>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nFeedback-ID: a:b:c\r\n\r\n"),
    ];
    let line = "The quick brown fox jumps over the lazy dog; 0123456789 \r\n";
    cases.push(Case {
        what: "a body of 1 MB",
        misjudged_by: &[],
        header: HEADER.into(),
        body: line.repeat(1_000_000 / line.len()).into_bytes(),
    });
    cases.push(Case {
        what: "a body of 10 MB",
        misjudged_by: &[],
        header: HEADER.into(),
        body: line.repeat(10_000_000 / line.len()).into_bytes(),
    });
    cases.push(Case {
        what: "very long lines",
        misjudged_by: &[],
        header: format!("From: ann@example.com\r\nSubject: {}\r\nX-Long: {}\r\n\r\n", "a b ".repeat(240), "x".repeat(60_000)).into_bytes(),
        body: format!("{}\r\n{}\r\n", "word ".repeat(40_000), "y".repeat(100_000)).into_bytes(),
    });
    cases.push(Case { what: "a long recipient list", misjudged_by: &[], header: long_list(), body: b"x\r\n".to_vec() });
    cases
}

fn long_list() -> Vec<u8> {
    let recipients: Vec<String> = (0..40).map(|n| format!("recipient-{n}@example.org")).collect();
    format!("From: ann@example.com\r\nTo: {}\r\n\r\n", recipients.join(",\r\n ")).into_bytes()
}
