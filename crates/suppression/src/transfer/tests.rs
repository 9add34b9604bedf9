use proptest::prelude::*;

use super::*;

/// Reads a list that comes in these pieces.
fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, format: Format, defaults: &Defaults) -> Import {
    let mut importer = Importer::new(format, defaults.clone());
    let mut parts: Vec<Import> = pieces.into_iter().map(|piece| importer.push(piece)).collect();
    parts.push(importer.finish());
    let mut import = Import::default();
    for part in parts {
        import.entries.extend(part.entries);
        import.bad.extend(part.bad);
        import.ignored.extend(part.ignored);
    }
    import
}

fn read(text: &str, format: Format, defaults: &Defaults) -> Import {
    read_pieces([text.as_bytes()], format, defaults)
}

fn defaults() -> Defaults {
    Defaults {
        scope: Breadth::Global,
        within: None,
        reason: Reason::Manual,
        now: "2026-11-23T10:00:00Z".parse().unwrap(),
        by: "ann".into(),
    }
}

fn entry() -> SuppressionEntry {
    let source = EntrySource {
        class: Some(Class::InactiveMailbox),
        message: Some(MessageId::new(defaults().now, 5)),
        rule: Some("google.disabled".into()),
        text: Some("550 5.2.1 \"disabled\",\nsee the page".into()),
        by: Some("ann".into()),
    };
    let until = Some("2027-05-22T10:00:00.5Z".parse().unwrap());
    let scope = Breadth::Stream(posthaste_mail::Name::new("news").unwrap());
    SuppressionEntry {
        until,
        ..SuppressionEntry::new(Address::new("\"a,b\"@x.org").unwrap(), scope, Reason::HardBounce, defaults().now, None, source)
    }
}

#[test]
fn both_forms_read_back_what_they_write() {
    let plain = SuppressionEntry::new(
        Address::new("c@x.org").unwrap(),
        Breadth::Global,
        Reason::Complaint,
        defaults().now,
        None,
        EntrySource { by: Some("ann".into()), ..EntrySource::default() },
    );
    for format in [Format::Csv, Format::Jsonl] {
        let text = head(format) + &line(&entry(), format) + &line(&plain, format);
        assert_eq!(read(&text, format, &defaults()), Import { entries: vec![entry(), plain.clone()], ..Import::default() });
    }
}

#[test]
fn a_plain_list_of_addresses_is_taken() {
    let import = read("\u{feff}a@x.org\r\n\r\n\"b@x.org\"\r\n c@x.org", Format::Csv, &defaults());
    assert_eq!(import.bad, []);
    assert_eq!(import.entries.iter().map(|e| e.address.as_str()).collect::<Vec<_>>(), ["a@x.org", "b@x.org", "c@x.org"]);
    assert_eq!((import.entries[0].reason, import.entries[0].since), (Reason::Manual, defaults().now));
}

#[test]
fn others_names_for_the_columns_are_understood_and_unknown_ones_named() {
    let text = "Created,Email Address,Reason\n1,a@x.org,hard-bounce\n2,b@x.org,\n";
    let import = read(text, Format::Csv, &defaults());
    assert_eq!(import.bad, []);
    assert_eq!(import.ignored, ["created"]);
    assert_eq!(import.entries.iter().map(|e| e.reason).collect::<Vec<_>>(), [Reason::HardBounce, Reason::Manual]);
}

#[test]
fn every_bad_line_is_named_and_the_good_ones_are_kept() {
    let text = "address,scope,reason,since,until\na@x.org,,,,\nno address,,,,\nb@x.org,nowhere,,,\nc@x.org,,,yesterday,\nd@x.org\n\"e@x.org,,,,\nf@x.org,stream:news,complaint,2026-01-01T00:00:00Z,\n";
    let import = read(text, Format::Csv, &defaults());
    assert_eq!(import.bad.iter().map(|b| b.line).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    assert_eq!(import.entries.len(), 2);
    let text = "{\"email\":\"a@x.org\",\"reason\":\"complaint\"}\nnot json\n\n{\"address\":\"\"}\n{\"scope\":\"global\"}\n";
    let import = read(text, Format::Jsonl, &defaults());
    assert_eq!(import.bad.iter().map(|b| b.line).collect::<Vec<_>>(), [2, 4, 5]);
    assert_eq!(import.entries.len(), 1);
}

#[test]
fn a_line_for_the_mail_of_others_is_bad() {
    let own: Breadth = "user:bob".parse().unwrap();
    let bob = Defaults { scope: own.clone(), within: Some(vec![own.clone()]), ..defaults() };
    let file = "address,scope\na@x.org,\nb@x.org,global\nc@x.org,user:alice\nd@x.org,user:bob\n";
    let import = read(file, Format::Csv, &bob);
    assert_eq!(import.entries.iter().map(|e| (e.address.as_str(), &e.scope)).collect::<Vec<_>>(), [("a@x.org", &own), ("d@x.org", &own)]);
    assert_eq!(import.bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn a_quote_or_a_line_without_an_end_costs_its_line_only_and_no_memory() {
    let importer = |pieces: &[&[u8]]| {
        let mut importer = Importer::new(Format::Csv, defaults());
        let mut all: Vec<Import> = Vec::new();
        for piece in pieces {
            all.push(importer.push(piece));
            assert!(importer.rest.len() < RECORD_MAX && importer.rest.capacity() <= 2 * RECORD_MAX);
        }
        all.push(importer.finish());
        let bad = all.iter().flat_map(|part| &part.bad).map(|bad| bad.line).collect::<Vec<_>>();
        (bad, all.iter().map(|part| part.entries.len()).sum::<usize>())
    };
    let lines = b"someone@x.org\n".repeat(1000);
    assert_eq!(importer(&[b"a@x.org\n\"b@x.org\n", &lines, &lines, &lines, &lines, &lines, &lines]), (vec![2], 6001));
    let long = [b'x'; 30_000];
    assert_eq!(importer(&[b"a@x.org\n", &long, &long, &long, &long, b"@x.org\nb@x.org\n", b"c@x.org"]), (vec![2], 3));
}

#[test]
fn what_is_said_about_a_bad_line_has_an_end() {
    let long = "x".repeat(60_000);
    for text in [format!("{{\"address\":\"a@x.org\",\"reason\":\"{long}\"}}"), format!("{{\"address\":[\"{long}\"]}}"), long] {
        for format in [Format::Csv, Format::Jsonl] {
            let bad = read(&text, format, &defaults()).bad;
            assert!(bad.len() == 1 && bad[0].why.chars().count() <= WHY_MAX + 1, "{bad:?}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(texts in proptest::collection::vec("[a-z,\"\r\n;é ]{0,8}", 1..5)) {
        let entries: Vec<_> = texts.iter().map(|text| {
            let source = EntrySource { text: filled(Some(text.clone())), by: Some("ann".into()), ..EntrySource::default() };
            SuppressionEntry::new(Address::new("c@x.org").unwrap(), Breadth::Global, Reason::Complaint, defaults().now, None, source)
        }).collect();
        for format in [Format::Csv, Format::Jsonl] {
            let text = head(format) + &entries.iter().map(|entry| line(entry, format)).collect::<String>();
            prop_assert_eq!(read(&text, format, &defaults()), Import { entries: entries.clone(), ..Import::default() });
        }
    }

    #[test]
    fn it_makes_no_difference_where_a_list_is_cut(text in "(\u{feff})?(address,text\n)?[a@é.,\"\r\n]{0,40}", cuts in proptest::collection::vec(0..60_usize, 0..6)) {
        let bytes = text.as_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        for format in [Format::Csv, Format::Jsonl] {
            let whole = read(&text, format, &defaults());
            prop_assert!(whole.bad.is_sorted_by_key(|bad| bad.line));
            prop_assert_eq!(read_pieces(cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]), format, &defaults()), whole);
        }
    }
}
