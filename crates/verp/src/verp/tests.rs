use proptest::prelude::*;

use super::*;

fn verp(secrets: &[u8]) -> Verp {
    let secrets: Vec<_> = secrets.iter().map(|s| VerpSecret::new([*s; 32])).collect();
    Verp::new(&secrets, Domain::new("bounce.example.org").unwrap(), "b").unwrap()
}

fn id() -> MessageId {
    MessageId::new(at(1000), 77)
}

fn at(hours: i64) -> Timestamp {
    Timestamp::from_second(hours * HOUR).unwrap()
}

fn rcpt() -> Address {
    Address::new("Some.One@example.net").unwrap()
}

#[test]
fn a_path_says_what_it_was_made_for_until_it_expires() {
    let address = verp(&[1]).address(id(), 513, &rcpt(), at(2000));
    assert_eq!(address.local().len(), 58);
    assert!(address.local().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'+'));
    let OpenedPath::Valid(token) = verp(&[1]).open(&address, at(1999)) else { panic!("not valid") };
    assert_eq!((token.message, token.rcpt, token.expires), (id(), 513, at(2000)));
    assert_eq!(verp(&[1]).open(&address, at(2000)), OpenedPath::Expired(token));
}

#[test]
fn a_code_of_one_kind_is_a_forgery_as_the_other() {
    let verp = verp(&[1]);
    let (address, field) = (verp.address(id(), 513, &rcpt(), at(2000)), verp.field(id(), 513, &rcpt(), at(2000)));
    let OpenedPath::Valid(token) = verp.open(&address, at(1999)) else { panic!("not valid") };
    assert_eq!((field.len(), verp.open_field(&field, at(1999))), (FIELD_CODE, OpenedPath::Valid(token)));
    assert_eq!(verp.open_field(&field, at(2000)), OpenedPath::Expired(token));
    assert_eq!(verp.open_field(&address.local()[2..], at(1999)), OpenedPath::Forged);
    assert_eq!(verp.open(&Address::new(&format!("b+{field}@bounce.example.org")).unwrap(), at(1999)), OpenedPath::Forged);
}

#[test]
fn a_part_of_an_hour_counts_as_one() {
    let expires = at(2000) + jiff::SignedDuration::from_secs(1);
    let OpenedPath::Valid(token) = verp(&[1]).open(&verp(&[1]).address(id(), 0, &rcpt(), expires), at(2000)) else { panic!("not valid") };
    assert_eq!(token.expires, at(2001));
}

#[test]
fn an_old_secret_is_believed_and_a_dropped_one_is_not() {
    let old = verp(&[1]).address(id(), 0, &rcpt(), at(2000));
    let OpenedPath::Valid(token) = verp(&[2, 1]).open(&old, at(1999)) else { panic!("not valid") };
    assert!(verp(&[2, 1]).is_for(&token, &rcpt()));
    assert_eq!(verp(&[2]).open(&old, at(1999)), OpenedPath::Forged);
    assert_eq!(verp(&[2, 1]).address(id(), 0, &rcpt(), at(2000)), verp(&[2]).address(id(), 0, &rcpt(), at(2000)));
}

#[test]
fn a_path_is_for_one_recipient_only() {
    let verp = verp(&[1]);
    let OpenedPath::Valid(token) = verp.open(&verp.address(id(), 0, &rcpt(), at(2000)), at(1999)) else { panic!("not valid") };
    assert!(verp.is_for(&token, &Address::new("some.one@EXAMPLE.net").unwrap()));
    assert!(!verp.is_for(&token, &Address::new("another@example.net").unwrap()));
}

#[test]
fn a_path_of_another_domain_or_prefix_is_not_ours() {
    let address = verp(&[1]).address(id(), 0, &rcpt(), at(2000));
    let secrets = [VerpSecret::new([1; 32])];
    let other = |domain: &str, prefix: &str| Verp::new(&secrets, Domain::new(domain).unwrap(), prefix).unwrap();
    assert_eq!(other("bounce.example.com", "b").open(&address, at(1)), OpenedPath::NotOurs);
    assert_eq!(other("bounce.example.org", "news").open(&address, at(1)), OpenedPath::NotOurs);
    for text in ["postmaster@bounce.example.org", "b@bounce.example.org", "bb+x@bounce.example.org"] {
        assert_eq!(verp(&[1]).open(&Address::new(text).unwrap(), at(1)), OpenedPath::NotOurs, "{text}");
    }
    // The same code under another prefix or domain that has the same secret.
    let moved = Address::new(&address.as_str().replace("b+", "news+")).unwrap();
    assert_eq!(other("bounce.example.org", "news").open(&moved, at(1)), OpenedPath::Forged);
}

#[test]
fn what_would_not_fit_an_address_is_refused() {
    let secrets = [VerpSecret::new([1; 32])];
    let made = |domain: &str, prefix: &str| Verp::new(&secrets, Domain::new(domain).unwrap(), prefix);
    for prefix in ["", "eight888", "a+b", "a b", "-a", "a-"] {
        assert!(matches!(made("x.org", prefix), Err(VerpError::Prefix(_))), "{prefix:?}");
    }
    assert!(matches!(made("[192.0.2.1]", "b"), Err(VerpError::Domain(_))));
    assert!(matches!(made(&"a.".repeat(100), "b"), Err(VerpError::Domain(_))));
    let longest = made(&format!("{}a", "a.".repeat(94)), "seven77").unwrap().address(id(), 0, &rcpt(), at(1));
    assert_eq!((longest.local().len(), longest.as_str().len()), (64, 254));
    assert!(matches!(Verp::new(&[], Domain::new("x.org").unwrap(), "b"), Err(VerpError::NoSecret)));
}

proptest! {
    #[test]
    fn any_changed_character_of_the_code_is_a_forgery(place in 0..CODE, other in 0..256usize, random: u128, rcpt_no: u16) {
        let verp = verp(&[1]);
        let address = verp.address(MessageId::new(at(1000), random), rcpt_no, &rcpt(), at(2000));
        let mut local = address.local().as_bytes().to_vec();
        let was = std::mem::replace(&mut local[2 + place], other as u8);
        prop_assume!(!was.eq_ignore_ascii_case(&(other as u8)));
        let text = String::from_utf8_lossy(&local);
        if let Ok(changed) = Address::new(&format!("{text}@bounce.example.org")) {
            // If the change splits the local part, the address is not ours at all.
            prop_assert!(!matches!(verp.open(&changed, at(1999)), OpenedPath::Valid(_) | OpenedPath::Expired(_)));
            prop_assert_eq!(verp.open(&changed, at(1999)) == OpenedPath::Forged, changed.local().len() == 58);
        }
    }

    #[test]
    fn any_flipped_bit_is_a_forgery(bit in 0..BYTES * 8, random: u128) {
        let verp = verp(&[1]);
        let address = verp.address(MessageId::new(at(1000), random), 3, &rcpt(), at(2000));
        let mut bytes = unbase32(&address.local()[2..]).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let flipped = Address::new(&format!("b+{}@bounce.example.org", base32(&bytes))).unwrap();
        prop_assert_eq!(verp.open(&flipped, at(1999)), OpenedPath::Forged);
    }

    #[test]
    fn letters_may_change_their_case(upper: [bool; 32], random: u128, rcpt_no: u16) {
        let verp = verp(&[1]);
        let message = MessageId::new(at(1000), random);
        let address = verp.address(message, rcpt_no, &rcpt(), at(2000));
        let text: String = address.as_str().chars().zip(upper.iter().cycle()).map(|(c, u)| if *u { c.to_ascii_uppercase() } else { c }).collect();
        let OpenedPath::Valid(token) = verp.open(&Address::new(&text).unwrap(), at(1999)) else { panic!("not valid") };
        prop_assert_eq!((token.message, token.rcpt), (message, rcpt_no));
    }

    #[test]
    fn base32_reads_back(bytes: [u8; 32], more: [u8; 3]) {
        let all: [u8; BYTES] = std::array::from_fn(|i| if i < 32 { bytes[i] } else { more[i - 32] });
        prop_assert_eq!(unbase32(&base32(&all)), Some(all));
    }
}
