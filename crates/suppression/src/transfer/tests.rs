use super::*;

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
