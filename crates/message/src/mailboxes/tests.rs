use proptest::prelude::*;

use super::{shown::decoded, *};

fn specs(value: &str) -> Option<Vec<String>> {
    read(value.as_bytes()).map(|found| found.specs)
}

#[test]
fn a_field_names_its_mailboxes() {
    for (value, found) in [
        (" ann@example.com\r\n", &["ann@example.com"][..]),
        (" Ann <ann@Example.COM>\r\n", &["ann@Example.COM"]),
        ("\r\n Ann\r\n\t<ann@example.com>\r\n", &["ann@example.com"]),
        (" Ann<ann@example.com>", &["ann@example.com"]),
        (" \"Doe, Ann\" <ann@example.com>", &["ann@example.com"]),
        (" \"Ann \\\"the boss\\\" Doe\" <ann@example.com>", &["ann@example.com"]),
        (" Dr. Ann O'Neil-Doe <ann@example.com>", &["ann@example.com"]),
        (" [Shop] News <news+2@shop.example>", &["news+2@shop.example"]),
        (" ann@example.com (Ann (of Sales))", &["ann@example.com"]),
        (" a@one.org, Bob (of Two) <b@two.org>,\r\n c@three.org", &["a@one.org", "b@two.org", "c@three.org"]),
        (" Team: Ann <ann@example.com>, b@two.org;", &["ann@example.com", "b@two.org"]),
        (" J\u{fc}rgen M\u{fc}ller <j@example.com>", &["j@example.com"]),
        (" =?utf-8?q?J=C3=BCrgen?= =?utf-8?q?_M=C3=BCller?= <j@example.com>", &["j@example.com"]),
        (" =?utf-8?b?SsO8cmdlbg==?= <j@example.com>", &["j@example.com"]),
        (" =?iso-8859-1?Q?Gesch=E4ft_=28Shop=29?= <j@example.com>", &["j@example.com"]),
        (" \u{ab}\u{41c}\u{430}\u{433}\u{430}\u{437}\u{438}\u{43d}\u{bb} <j@example.com>", &["j@example.com"]),
        (" Ann <ann@ex\u{e4}mple.test>", &["ann@ex\u{e4}mple.test"]),
        (" j\u{fc}rgen@example.test", &["j\u{fc}rgen@example.test"]),
        (" ceo%alice.test@bob.test", &["ceo%alice.test@bob.test"]),
        (" <x@bob.test>", &["x@bob.test"]),
        (" Bob < x@bob.test >", &["x@bob.test"]),
        (" a@[192.0.2.1]", &["a@[192.0.2.1]"]),
        // Quotes that change nothing.
        (" \"ab..cd\"@docomo.test", &["ab..cd@docomo.test"]),
        (" <\"ab..cd\"@docomo.test>", &["ab..cd@docomo.test"]),
        (" Taro <\"abc.\"@docomo.test>", &["abc.@docomo.test"]),
        (" \"Taro\" <\".abc\"@DOCOMO.test>", &[".abc@DOCOMO.test"]),
        (" \"Yamada, Taro\"\r\n <\"a..b\"@docomo.test>\r\n", &["a..b@docomo.test"]),
        (" \"Yamada,\r\n Taro\" <\"a..b\"@docomo.test>\r\n", &["a..b@docomo.test"]),
        (" =?utf-8?q?=22Taro=22_Yamada?= <\"a..b\"@docomo.test>", &["a..b@docomo.test"]),
        (" (Taro) \"a..b\"@docomo.test (at work)", &["a..b@docomo.test"]),
        (" Team: \"a..b\"@docomo.test, <\"c.\"@docomo.test>;", &["a..b@docomo.test", "c.@docomo.test"]),
        (" \"ann\"@example.com", &["ann@example.com"]),
        // An address that is its own name.
        (" p@x.test <p@x.test>", &["p@x.test"]),
        (" p@X.Test <p@x.test>", &["p@x.test"]),
        (" 'p@x.test' <p@x.test>", &["p@x.test"]),
        (" Pat p@x.test <p@x.test>", &["p@x.test"]),
        (" \"a..b\"@docomo.test <a..b@docomo.test>", &["a..b@docomo.test"]),
        (" \"p@x.test\" <\"p\"@x.test> (p@x.test)", &["p@x.test"]),
        (" p@x.test, p@x.test", &["p@x.test", "p@x.test"]),
        (" Team: p@x.test <p@x.test>, p@x.test;", &["p@x.test", "p@x.test"]),
        (" p@ex\u{e4}mple.test <p@xn--exmple-cua.test>", &["p@xn--exmple-cua.test"]),
        (" Ann", &[]),
        (" undisclosed:;", &[]),
        (" undisclosed-recipients: ;", &[]),
        ("", &[]),
    ] {
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(read(value.as_bytes()), Some(Mailboxes { specs: found, shown: Vec::new() }), "{value:?}");
    }
    assert_eq!(specs("J\u{fc}rgen <j@example.com>"), read(b"J\xfcrgen <j@example.com>").map(|found| found.specs), "ISO 8859-1 unencoded");
}

#[test]
fn an_address_that_is_shown_is_found() {
    for (value, shown) in [
        (" \"ceo@alice.test\" <x@bob.test>", "ceo@alice.test"),
        (" \"'ceo@alice.test' via List\" <x@bob.test>", "ceo@alice.test"),
        (" \"Ann, a <ceo@alice.test>\" <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?q?ceo=40alice.test?= <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?q?ceo=40ali?= =?utf-8?q?ce.test?= <x@bob.test>", "ceo@alice.test"),
        (" \"=?utf-8?q?ceo=40alice.test?=\" <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?b?Y2VvQGFsaWNlLnRlc3Q=?= <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?q?ceo=EF=BC=A0alice=E3=80=82test?= <x@bob.test>", "ceo@alice.test"),
        // Without padding, cut in two, beside text, and with what nobody sees.
        (" =?utf-8?b?Y2VvQGFsaWNlLnRlc3Q?= <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?b?Y2Vv?= =?utf-8?b?QGFsaWNlLnRlc3Q?= <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?q?ceo=4?= =?utf-8?q?0alice.test?= <x@bob.test>", "ceo@alice.test"),
        (" ceo=?utf-8?q?=40?=alice.test <x@bob.test>", "ceo@alice.test"),
        (" \"ceo=?utf-8?q?=40?=alice.test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo\u{200b}@\u{200b}alice.test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo@al\u{ad}ice.test\" <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?q?ceo=C2=AD=40alice.test?= <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?q?ceo=C0=A0=40alice.test?= <x@bob.test>", "ceo@alice.test"),
        // Blanks, quotes, brackets and comments around the '@' and the dots.
        (" \"ceo @ alice.test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo@ alice.test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo\u{a0}@\u{3000}alice.test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo\r\n @ alice.test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo@alice . test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo@alice. test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo @ alice. TEST\" <x@bob.test>", "ceo@alice.TEST"),
        (" \"ceo (@) alice.test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo[@]alice.test\" <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?q?=22ceo=22=40alice.test?= <x@bob.test>", "ceo@alice.test"),
        (" \"ceo (the boss)@alice.test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo@(our shop)alice.test\" <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?q?ceo_=40_alice=2Etest?= <x@bob.test>", "ceo@alice.test"),
        (" x@bob.test (ceo @ alice.test)", "ceo@alice.test"),
        // Marks that nobody sees, or that are written over a letter, and letters that look like others.
        (" \"ceo\u{fe0f}@alice\u{fe0f}.test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo@\u{301}alice.te\u{34f}st\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo@alice\u{2024}test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo@alice\u{fe52}test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo@alice\u{b7}test\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo\u{24d0}alice.test\" <x@bob.test>", "ceo@alice.test"),
        (" \"\u{ff43}\u{ff45}\u{ff4f}\u{ff20}\u{ff41}lice\u{ff0e}test\" <x@bob.test>", "ceo@alice.test"),
        (" \"\u{1d41c}\u{1d41e}\u{1d428}@alice.test\" <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?b?77yj77yl77yv77yg?= =?utf-8?q?alice.test?= <x@bob.test>", "CEO@alice.test"),
        // What stands the wrong way round, and is turned by a character that nobody sees.
        (" \"\u{202e}tset.ecila@oec\" <x@bob.test>", "ceo@alice.test"),
        (" \"\u{202e}tset.ecila@oec\u{202c} (office)\" <x@bob.test>", "ceo@alice.test"),
        (" \"ceo\u{202e}tset.ecila@\" <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?b?4oCudHNldC5lY2lsYUBvZWM=?= <x@bob.test>", "ceo@alice.test"),
        (" x@bob.test (\u{202e}tset.ecila@oec)", "ceo@alice.test"),
        // By the bytes: what is overlong in UTF-8, what is no character of the charset or half of one, padding amid a word.
        (" =?utf-8?q?ceo=C1=80alice.test?= <x@bob.test>", "ceo@alice.test"),
        (" =?gb2312?q?ceo=81=40alice.test?= <x@bob.test>", "ceo@alice.test"),
        (" =?shift_jis?b?Y2VvgUBhbGljZS50ZXN0?= <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?b?Y2VvQA==YWxpY2UudGVzdA==?= <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8*en?q?ceo=40alice.test?= <x@bob.test>", "ceo@alice.test"),
        (" =?utf-8?q?ceo?=\r\n =?utf-8?q?=40?=\r\n\t=?utf-8?q?alice.test?= <x@bob.test>", "ceo@alice.test"),
        (" x@bob.test (ceo@alice.test)", "ceo@alice.test"),
        (" (<ceo@alice.test>) x@bob.test", "ceo@alice.test"),
        (" \"ceo@alice.test\": x@bob.test;", "ceo@alice.test"),
    ] {
        // What one reader cuts short may be there as well: all of them are checked.
        let found = read(value.as_bytes()).unwrap_or_else(|| panic!("{value:?} is refused"));
        assert!(found.specs == ["x@bob.test"] && found.shown.iter().any(|address| address == shown), "{value:?}: {found:?}");
    }
    for same in [
        " \"x@bob.test\" <x@bob.test>",
        " X@BOB.test <x@bob.test>",
        " x@bob.test (x@bob.test)",
        " \"Me @ work\" <x@bob.test>",
        " \"Concert @ St. Mary's\" <x@bob.test>",
        " \"Lunch @ 12.30\" <x@bob.test>",
        " \"Shop (@shop)\" <x@bob.test>",
        " \"Bob @ Bob . test\" <bob@bob.test>",
        " \"\u{30d5}\u{30a1}\u{30df}\u{30ea}\u{30fc}\" <x@bob.test>",
        " =?shift_jis?b?g3SDQIN+g4qBWw==?= <x@bob.test>",
        " =?iso-2022-jp?b?GyRCJUYlOSVIGyhC?= <x@bob.test>",
    ] {
        let spec = if same.contains("<bob@") { "bob@bob.test" } else { "x@bob.test" };
        assert_eq!(read(same.as_bytes()), Some(Mailboxes { specs: vec![spec.into()], shown: Vec::new() }), "{same:?}");
    }
}

#[test]
fn what_two_readers_read_differently_is_refused() {
    for value in [
        // Charsets that few readers know.
        " =?cp037?b?g4WWfIGTiYOFS6OFoqM=?= <x@bob.test>",
        " =?hz-gb-2312?q?ceo=40alice.test?= <x@bob.test>",
        " =?unicode_escape?q?ceo=5Cx40alice.test?= <x@bob.test>",
        " =?utf-16?b?AGMAZQBvAEA=?= <x@bob.test>",
        " =?iso-2022-kr?q?ceo=40alice.test?= <x@bob.test>",
        " =?utf-8-mac?q?ceo=40alice.test?= <x@bob.test>",
        " =?gb_1988-80?q?ceo=40alice.test?= <x@bob.test>",
        " \"Doe <a@sender.test>",
        " x@bob.test (unclosed <ceo@alice.test>",
        " x@bob.test (a\\) <ceo@alice.test>",
        " x@bob.test (a (b) <ceo@alice.test>)",
        " \"a\\\" <ceo@alice.test> \\\"\" <x@bob.test>",
        " x@bob.test \"",
        " x@bob.test (",
        " x@bob.test)",
        " <x@bob.test",
        " x@bob.test>",
        " <<x@bob.test>>",
        " <x@bob.test> ceo",
        " x@bob.test <>",
        " ceo@alice.test <x@bob.test>",
        " <ceo@alice.test> x@bob.test",
        " <a@one.org><b@two.org>",
        " [ceo@alice.test] <x@bob.test>",
        " <@alice.test:x@bob.test>",
        " x@bob.test alice.test",
        " x@bob .test",
        " x@bob.test\r\n .alice.test",
        " ceo @alice.test <x@bob.test>",
        " ceo@alice.test@bob.test",
        " \"a@b\"@example.com",
        " \"a b\"@example.com",
        " \"a,b\"@example.com",
        " \"a\\.b\"@example.com",
        " \"=?utf-8?q?ceo?=\"@bob.test",
        " ceo\"a..b\"@bob.test",
        " \"ceo\" \"a..b\"@bob.test",
        " \"a..b\" @bob.test",
        " \"a..b\"@bob.test@alice.test",
        " \"\"@bob.test",
        " \"a..b\"@alice.test <x@bob.test>",
        " x@bob.test ceo@alice.test <x@bob.test>",
        " x@bob.test <ceo@alice.test>, x@bob.test",
        " x@bob.test x@bob.test",
        " Doe, Ann <ann@example.com>",
        " x@bob.test; ceo@alice.test",
        " x@bob.test;ceo",
        " x@bob.test: ceo@alice.test;",
        " A: B: x@bob.test;;",
        " A: x@bob.test",
        " A: x@bob.test; ceo",
        " : x@bob.test;",
        " x@bob.test\\,ceo@alice.test",
        " ceo@alice.test\0@bob.test",
        " Ann\r <x@bob.test>",
        " Ann\n <x@bob.test>",
        " Ann\r\n \r\n <x@bob.test>",
        " x@bob.test\u{3002}alice.test",
        " x\u{ff20}alice.test",
        " x\u{ff20}alice.test <x@bob.test>",
        " x\u{200b}@bob.test",
        " x@bob.test\u{a0}",
        " =?UTF-8?Q?Shop_=3Ca=40sender=2Etest=3E?=",
        " =?utf-8?b?U2hvcCA8YUBzZW5kZXIudGVzdD4=?=",
        " =?utf-8?q?ceo=40alice.test?=",
        " =?utf-8?q?ceo=40alice.test?=@bob.test",
        " <=?utf-8?q?ceo?=@bob.test>",
        " =?utf-8?q?Shop_=3Cceo=40alice.test=3E?= <x@bob.test>",
        " =?utf-8?q?Shop_=E2=80=B9ceo=40alice.test=E2=80=BA?= <x@bob.test>",
        " =?utf-8?q?ceo=40alice.test=0A?= <x@bob.test>",
        " =?utf-7?q?ceo+AEA-alice.test?= <x@bob.test>",
        " =?x-unknown?b?Y2VvQGFsaWNlLnRlc3Q=? <x@bob.test>",
        " =?utf-8?q?ceo=40alice.test <x@bob.test>",
    ] {
        assert_eq!(read(value.as_bytes()), None, "{value:?}");
    }
}

/// All that looks like an address in a text, for somebody who knows no grammar.
fn naive(text: &str) -> Vec<String> {
    let part = |c: &char| c.is_alphanumeric() || "._+%=-".contains(*c);
    let find = |at: usize| {
        let local: String = text[..at].chars().rev().take_while(part).collect::<Vec<_>>().into_iter().rev().collect();
        let domain: String = text[at + 1..].chars().take_while(part).collect();
        let (local, domain) = (local.trim_start_matches('.'), domain.trim_end_matches('.'));
        (!local.is_empty() && domain.contains('.')).then(|| format!("{local}@{domain}"))
    };
    text.match_indices('@').filter_map(|(at, _)| find(at)).collect()
}

fn evil() -> impl Strategy<Value = String> {
    let parts = [
        "x@bob.test",
        "ceo@alice.test",
        "<x@bob.test>",
        "<ceo@alice.test>",
        "Ann",
        "Doe",
        "\"",
        "\\",
        "(",
        ")",
        "<",
        ">",
        ",",
        ";",
        ":",
        " ",
        "\t",
        "\r\n ",
        "\r\n\t",
        ".",
        "@",
        "\"a b\"",
        "(c)",
        "\"ceo@alice.test\"",
        "(ceo@alice.test)",
        "=?utf-8?q?",
        "?=",
        "=?utf-8?q?ceo=40alice.test?=",
        "=?utf-8?b?PGNlb0BhbGljZS50ZXN0Pg==?=",
        "=?utf-8?q?=3Cceo=40alice.test=3E?=",
        "\\\"",
        "\\)",
        "Team:",
        "\r",
        "\0",
        "\u{fc}",
        "\u{ff20}",
        "\u{2039}",
        "[",
        "]",
        "alice.test",
        "bob.test",
        "@alice.test:",
        "<>",
        "=40",
    ];
    prop::collection::vec(prop::sample::select(parts.to_vec()), 0..9).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_anybody_could_read_as_an_address_is_checked_or_the_field_is_refused(value in evil()) {
        if let Some(Mailboxes { specs, shown }) = read(value.as_bytes()) {
            let unfolded = value.replace("\r\n", "");
            let plainer = without_needless_quotes(&unfolded).unwrap();
            let as_written = if plainer == unfolded { &value } else { &*plainer };
            prop_assert_eq!(&lenient(as_written.as_bytes()), &specs, "{:?}", value);
            for address in naive(&decoded(&unfolded.replace('"', " "))) {
                let is_it = |known: &String| known.trim_matches('.') == address;
                prop_assert!(specs.iter().chain(&shown).any(is_it), "{:?}: {:?}", value, address);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&value);
    }

    #[test]
    fn what_mail_programs_write_is_taken(
        names in prop::collection::vec("[A-Za-z\u{e4}\u{f6}\u{fc}\u{df}\u{e9} .'-]{0,20}", 1..4),
        local in "[a-z0-9]{1,10}([.+_-][a-z0-9]{1,5}){0,3}", form in 0..6usize, fold: bool,
    ) {
        let spec = |i: usize| format!("{local}{i}@mail.example{i}.org");
        let one = |(i, name): (usize, &String)| {
            let (name, spec) = (name.trim(), spec(i));
            let encoded: String = name.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("={b:02X}") }).collect();
            match form {
                0 => spec,
                1 => format!("<{spec}>"),
                2 => format!("\"{name}\" <{spec}>"),
                3 => format!("=?UTF-8?Q?{encoded}?= <{spec}>"),
                4 => format!("{spec} ({name})"),
                _ if name.is_empty() => format!("X <{spec}>"),
                _ => format!("{name} <{spec}>"),
            }
        };
        let value = names.iter().enumerate().map(one).collect::<Vec<_>>().join(if fold { ",\r\n\t" } else { ", " });
        let expected: Vec<_> = (0..names.len()).map(spec).collect();
        prop_assert_eq!(specs(&format!(" {value}\r\n")), Some(expected.clone()), "{}", value);
        prop_assert_eq!(specs(&format!(" Team: {value};\r\n")), Some(expected), "{}", value);
    }
}
