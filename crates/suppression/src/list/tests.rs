use std::time::Duration;

use posthaste_bounce::Rules;
use posthaste_mail::{Class, MessageId, Scope};
use posthaste_spool::MemoryFacts;

use super::*;
use crate::{BounceEvidence, EntryFilter, ListAnswer, ListRequest, Sureness, sweep};

/// A register that has been filled.
pub(crate) fn filled<F: Facts>(facts: F) -> Register<F> {
    let register = Register::new(facts);
    register.fill();
    register
}

#[expect(clippy::disallowed_methods, reason = "the spool's shell is given a real clock")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

const RULES: SuppressionRules = SuppressionRules {
    hard_bounce_for: None,
    inactive_for: Some(days(180)),
    full_for: Some(days(30)),
    complaint_for: None,
    unsubscribe_for: None,
    hint_for: days(90),
    complaints_are_global: false,
    bounces: 3,
    within: days(30),
    apart: days(1),
    memory: 64 << 20,
};

const fn days(n: u64) -> Duration {
    Duration::from_secs(86_400 * n)
}

fn day(n: u64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + days(n)
}

fn a() -> Address {
    Address::new("a@x.org").unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn id(n: u128) -> MessageId {
    MessageId::new(day(0), n)
}

fn said(class: Class, sureness: Sureness, message: u128) -> BounceEvidence {
    let source = EntrySource { message: Some(id(message)), ..EntrySource::default() };
    BounceEvidence { class, scope: Scope::Recipient, sureness, late: false, source }
}

fn is_on<F: Facts>(list: &List<'_, F>, now: Timestamp) -> bool {
    list.look_up(&a(), &name("news"), None, now).is_some()
}

#[test]
fn the_default_rules_are_the_ones_tested() {
    assert_eq!(SuppressionRules::default(), RULES);
}

#[test]
fn one_certain_bounce_suppresses_for_everybody() {
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    let Noted::Suppressed(entry) = list.note_bounce(&a(), &said(Class::InvalidRecipient, Sureness::Certain, 1), day(0)) else {
        panic!("not suppressed")
    };
    assert_eq!(
        (entry.reason, entry.scope.clone(), entry.until, entry.source.class),
        (Reason::HardBounce, Breadth::Global, None, Some(Class::InvalidRecipient))
    );
    let other_spelling = Address::new("A@X.org").unwrap();
    assert_eq!(list.look_up(&other_spelling, &name("news"), None, day(9000)).map(|e| e.reason), Some(Reason::HardBounce));
    assert_eq!(list.find(&other_spelling, day(9000)), std::slice::from_ref(&entry));
    assert_eq!(list.note_bounce(&a(), &said(Class::InvalidRecipient, Sureness::Certain, 2), day(1)), Noted::Already(entry));
}

#[test]
fn of_the_less_certain_it_takes_several_on_several_days() {
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    let bounce = |message, at| list.note_bounce(&a(), &said(Class::InvalidRecipient, Sureness::Likely, message), at);
    assert_eq!(bounce(1, day(0)), Noted::Counted { times: 1, of: 3 });
    assert_eq!(bounce(2, day(0)), Noted::Counted { times: 1, of: 3 });
    assert_eq!(bounce(1, day(5)), Noted::Counted { times: 1, of: 3 });
    assert_eq!(bounce(3, day(20)), Noted::Counted { times: 2, of: 3 });
    // The first one is too old by now.
    assert_eq!(bounce(4, day(31)), Noted::Counted { times: 2, of: 3 });
    assert!(!is_on(&list, day(31)));
    assert!(matches!(bounce(5, day(33)), Noted::Suppressed(_)));
    assert!(is_on(&list, day(33)));
    assert_eq!(facts.facts().scan(b"bounces/"), []);
}

#[test]
fn a_delivery_between_bounces_begins_anew() {
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    for n in 0..2 {
        list.note_bounce(&a(), &said(Class::MailboxFull, Sureness::Likely, n), day(2 * n as u64));
    }
    list.note_delivered(&a());
    assert_eq!(list.note_bounce(&a(), &said(Class::MailboxFull, Sureness::Likely, 9), day(5)), Noted::Counted { times: 1, of: 3 });
}

#[test]
fn a_delivery_does_not_disprove_what_bounced_after_one() {
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    let late = |message| BounceEvidence { late: true, ..said(Class::MailboxFull, Sureness::Likely, message) };
    list.note_bounce(&a(), &late(1), day(0));
    list.note_bounce(&a(), &said(Class::MailboxFull, Sureness::Likely, 2), day(2));
    list.note_delivered(&a());
    assert_eq!(list.note_bounce(&a(), &late(3), day(4)), Noted::Counted { times: 2, of: 3 });
    list.note_delivered(&a());
    assert!(matches!(list.note_bounce(&a(), &late(4), day(6)), Noted::Suppressed(_)));
}

#[test]
fn a_full_mailbox_is_never_certain_and_may_come_back() {
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    assert_eq!(list.note_bounce(&a(), &said(Class::MailboxFull, Sureness::Certain, 0), day(0)), Noted::Counted { times: 1, of: 3 });
    list.note_bounce(&a(), &said(Class::MailboxFull, Sureness::Certain, 1), day(2));
    let Noted::Suppressed(entry) = list.note_bounce(&a(), &said(Class::MailboxFull, Sureness::Certain, 2), day(4)) else {
        panic!("not suppressed")
    };
    assert_eq!(entry.until, Some(day(34)));
    assert_eq!((is_on(&list, day(33)), is_on(&list, day(34))), (true, false));
}

#[test]
fn an_inactive_mailbox_may_come_back_and_a_missing_one_does_not() {
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    list.note_bounce(&a(), &said(Class::InactiveMailbox, Sureness::Certain, 0), day(0));
    assert_eq!((is_on(&list, day(179)), is_on(&list, day(180))), (true, false));
    assert!(matches!(list.note_bounce(&a(), &said(Class::InvalidRecipient, Sureness::Certain, 1), day(1)), Noted::Suppressed(_)));
    assert!(matches!(list.note_bounce(&a(), &said(Class::InactiveMailbox, Sureness::Certain, 2), day(2)), Noted::Already(_)));
    assert!(is_on(&list, day(900)));
}

#[test]
fn only_what_is_about_the_recipient_can_suppress() {
    for class in Class::ALL.iter().filter(|c| !matches!(c, Class::InvalidRecipient | Class::InactiveMailbox | Class::MailboxFull)) {
        let facts = filled(MemoryFacts::default());
        let list = List::new(&facts, &RULES);
        for n in 0..20 {
            assert_eq!(list.note_bounce(&a(), &said(*class, Sureness::Certain, n), day(2 * n as u64)), Noted::Nothing, "{class}");
        }
        assert!(facts.facts().0.borrow().is_empty());
    }
    // Nor does a verdict with another scope than the recipient, nor a guess, however often.
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    for n in 0..20 {
        let elsewhere = BounceEvidence { scope: Scope::SourceIp, ..said(Class::InvalidRecipient, Sureness::Certain, n) };
        assert_eq!(list.note_bounce(&a(), &elsewhere, day(2 * n as u64)), Noted::Nothing);
        assert_eq!(list.note_bounce(&a(), &said(Class::InvalidRecipient, Sureness::Guess, n), day(2 * n as u64)), Noted::Nothing);
    }
    assert!(facts.facts().0.borrow().is_empty());
}

#[test]
fn what_blocks_us_never_counts_against_a_subscriber() {
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    let blocked = [
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
        "550 5.7.511 Access denied, banned sender[192.0.2.1]",
        "421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address",
        "550 5.7.26 Unauthenticated email is not accepted due to domain's DMARC policy",
        "550 something nobody has ever said before",
        "452 4.3.1 Insufficient system storage",
    ];
    for (n, reply) in blocked.iter().enumerate() {
        let said = BounceEvidence::new(&Rules::shipped().classify_text(reply, None), None, reply);
        assert!(!matches!(list.note_bounce(&a(), &said, day(2 * n as u64)), Noted::Suppressed(_)), "{reply}");
    }
    assert!(!is_on(&list, day(20)));
    let gone =
        Rules::shipped().classify_text("550 5.1.1 <a@x.org>: Recipient address rejected: User unknown in virtual mailbox table", None);
    assert!(matches!(list.note_bounce(&a(), &BounceEvidence::new(&gone, Some(id(1)), "text"), day(20)), Noted::Suppressed(_)));
}

#[test]
fn complaints_and_unsubscribes_stop_their_stream_for_ever() {
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    assert!(matches!(list.note_complaint(&a(), &name("news"), EntrySource::default(), day(0)), Noted::Suppressed(_)));
    assert!(matches!(list.note_complaint(&a(), &name("news"), EntrySource::default(), day(1)), Noted::Already(_)));
    assert!(matches!(list.note_unsubscribe(&a(), &name("offers"), EntrySource::default(), day(0)), Noted::Suppressed(_)));
    let reason = |stream| list.look_up(&a(), &name(stream), None, day(9000)).map(|e| e.reason);
    assert_eq!((reason("news"), reason("offers"), reason("receipts")), (Some(Reason::Complaint), Some(Reason::Unsubscribe), None));
    let global = SuppressionRules { complaints_are_global: true, ..RULES };
    List::new(&facts, &global).note_complaint(&a(), &name("news"), EntrySource::default(), day(0));
    assert_eq!(reason("receipts"), Some(Reason::Complaint));
}

#[test]
fn a_users_entry_stops_that_user_only() {
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    let (shop, other) = (UserScope::new("shop@x.org").unwrap(), UserScope::new("other").unwrap());
    list.add(
        &SuppressionEntry::new(a(), Breadth::User(shop.clone()), Reason::Manual, day(0), None, EntrySource::default()),
        Over::Any,
        day(0),
    );
    let found = |user| list.look_up(&a(), &name("news"), user, day(1)).is_some();
    assert_eq!((found(Some(&shop)), found(Some(&other)), found(None)), (true, false, false));
}

#[test]
fn the_longer_entry_stays_unless_the_operator_says_otherwise() {
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    let entry = |lasts| SuppressionEntry::new(a(), Breadth::Global, Reason::Manual, day(0), lasts, EntrySource::default());
    assert_eq!(list.add(&entry(None), Over::Stronger, day(0)), Added::New);
    assert_eq!(list.add(&entry(Some(days(9))), Over::Stronger, day(0)), Added::Kept(Box::new(entry(None))));
    assert_eq!(list.add(&entry(Some(days(9))), Over::Any, day(0)), Added::New);
    assert_eq!(list.add(&entry(Some(days(3))), Over::Stronger, day(9)), Added::New);
}

#[test]
fn a_removal_forgets_the_counts_too() {
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    list.note_bounce(&a(), &said(Class::MailboxFull, Sureness::Likely, 1), day(0));
    list.note_complaint(&a(), &name("news"), EntrySource::default(), day(0));
    list.note_complaint(&a(), &name("offers"), EntrySource::default(), day(0));
    assert_eq!(list.find(&a(), day(0)).len(), 2);
    assert_eq!(list.remove(&a(), Some(&Breadth::Stream(name("news")))), 1);
    assert_eq!(list.remove(&a(), Some(&Breadth::Stream(name("news")))), 0);
    assert_eq!(list.remove(&a(), None), 1);
    assert!(facts.facts().0.borrow().is_empty());
}

#[test]
fn an_address_is_found_by_any_spelling_and_not_by_a_longer_one() {
    for (one, other) in [("Max@X.org", "max@x.ORG"), ("\"max.m\"@x.org", "Max.M@x.org"), ("\"a b\"@x.org", "\"A B\"@x.org")] {
        assert_eq!(Address::new(one).unwrap().folded(), Address::new(other).unwrap().folded());
    }
    assert_ne!(Address::new("\"a\\\"b\"@x.org").unwrap().folded(), Address::new("ab@x.org").unwrap().folded());
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    list.note_complaint(&Address::new("a@x.org.uk").unwrap(), &name("news"), EntrySource::default(), day(0));
    assert!(!is_on(&list, day(0)));
    assert_eq!(list.find(&a(), day(0)), []);
    assert_eq!(list.remove(&a(), None), 0);
}

#[test]
fn pages_show_every_entry_once() {
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    for n in 0..25 {
        let address = Address::new(&format!("{}{n}@x{}.org", ["a", "b", "Ab"][n % 3], n % 2)).unwrap();
        list.add(
            &SuppressionEntry::new(address, Breadth::Global, Reason::Manual, day(0), (n == 7).then(|| days(1)), EntrySource::default()),
            Over::Any,
            day(0),
        );
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let request = ListRequest::List { filter: EntryFilter::default(), after, limit: 4 };
        let request = serde_json::from_str(&serde_json::to_string(&request).unwrap()).unwrap();
        let ListAnswer::Entries { entries, next } = list.perform(&request, day(2)) else { panic!("not entries") };
        seen.extend(entries.iter().map(|e| e.address.folded()));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 24);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 24);
    let filter = EntryFilter { domain: Some("x1.org".into()), ..EntryFilter::default() };
    let ListAnswer::Entries { entries, .. } = list.perform(&ListRequest::List { filter, after: None, limit: 100 }, day(2)) else {
        panic!("not entries")
    };
    assert_eq!(entries.len(), 11);
}

#[test]
fn the_sweep_takes_what_has_expired_and_nothing_else() {
    let facts = filled(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    list.note_bounce(&a(), &said(Class::InactiveMailbox, Sureness::Certain, 0), day(0));
    list.note_complaint(&a(), &name("news"), EntrySource::default(), day(0));
    list.note_bounce(&Address::new("b@x.org").unwrap(), &said(Class::MailboxFull, Sureness::Likely, 0), day(0));
    list.note_bounce(&Address::new("c@x.org").unwrap(), &said(Class::MailboxFull, Sureness::Likely, 0), day(20));
    facts.facts().put(b"other", b"fact");
    assert_eq!(sweep(&facts, &RULES, day(29)), 0);
    assert_eq!(sweep(&facts, &RULES, day(31)), 1);
    assert_eq!(sweep(&facts, &RULES, day(200)), 2);
    assert_eq!(facts.facts().0.borrow().len(), 2);
    assert!(is_on(&list, day(200)), "the complaint holds for ever");
}

#[test]
fn what_is_kept_in_memory_tells_what_the_facts_tell() {
    for (reason, lasts) in Reason::ALL.into_iter().zip([None, Some(days(1)), Some(days(40_000)), Some(days(3_000_000))]) {
        let (noted, facts) = (filled(MemoryFacts::default()), Register::new(MemoryFacts::default()));
        let entry = SuppressionEntry::new(a(), Breadth::Stream(name("news")), reason, day(0), lasts, EntrySource::default());
        for register in [&noted, &facts] {
            List::new(register, &RULES).add(&entry, Over::Any, day(0));
        }
        for now in [day(0), day(2), day(4), day(30_000), day(50_000)] {
            let [here, there] = [&noted, &facts].map(|r| List::new(r, &RULES).look_up(&a(), &name("news"), None, now));
            let facts =
                |e: &SuppressionEntry| (e.address.clone(), e.scope.clone(), e.reason, e.since, e.until.is_some_and(|u| u < day(100_000)));
            assert_eq!(here.as_ref().map(facts), there.as_ref().map(facts), "{reason} {now}");
        }
        assert!(List::new(&noted, &RULES).look_up(&a(), &name("other"), None, day(0)).is_none());
    }
}

#[test]
fn what_changes_while_the_register_is_filled_is_not_undone() {
    struct Slow(MemoryFacts);
    let memory = MemoryFacts::default();
    let entry = |text: &str| {
        SuppressionEntry::new(Address::new(text).unwrap(), Breadth::Global, Reason::Manual, day(0), None, EntrySource::default())
    };
    let before = Register::new(memory);
    for text in ["stays@x.org", "goes@x.org", "returns@x.org"] {
        List::new(&before, &RULES).add(&entry(text), Over::Any, day(0));
    }
    // The filling reads the oldest possible state: that before the changes.
    impl Facts for Slow {
        fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
            self.0.get(key)
        }
        fn put(&self, _: &[u8], _: &[u8]) {}
        fn delete(&self, _: &[u8]) {}
        fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
            self.0.scan(prefix)
        }
    }
    let register = Register::new(Slow(MemoryFacts(before.facts().0.clone())));
    let list = List::new(&register, &RULES);
    list.remove(&entry("goes@x.org").address, None);
    list.remove(&entry("returns@x.org").address, None);
    list.add(&entry("returns@x.org"), Over::Any, day(0));
    list.add(&entry("new@x.org"), Over::Any, day(0));
    register.fill();
    let found = |text: &str| list.look_up(&entry(text).address, &name("news"), None, day(1)).is_some();
    assert_eq!(["stays@x.org", "goes@x.org", "returns@x.org", "new@x.org"].map(found), [true, false, true, true]);
}

#[test]
fn the_spool_keeps_the_list_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || posthaste_spool::Spool::open(dir.path(), posthaste_spool::SpoolOptions::default(), clock).unwrap().0;
    let register = filled(open());
    List::new(&register, &RULES).note_complaint(&a(), &name("news"), EntrySource::default(), day(0));
    register.facts().close().unwrap();
    drop(register);
    let register = filled(open());
    let list = List::new(&register, &RULES);
    assert!(is_on(&list, day(1)));
    assert_eq!(list.remove(&a(), None), 1);
    assert!(!is_on(&list, day(1)));
}

#[test]
fn a_register_that_is_not_filled_finds_what_is_listed() {
    let facts = Register::new(MemoryFacts::default());
    let list = List::new(&facts, &RULES);
    assert!(!is_on(&list, day(0)));
    list.note_complaint(&a(), &name("news"), EntrySource::default(), day(0));
    assert!(is_on(&list, day(0)));
    facts.fill();
    assert!(is_on(&list, day(0)));
}

proptest::proptest! {
    #[test]
    fn whoever_is_listed_is_found_by_walk_and_look(names in proptest::collection::btree_set("[a-zA-Z0-9+=_-]{1,12}", 0..40)) {
        let facts = filled(MemoryFacts::default());
        let address = |name: &String| Address::new(&format!("{name}@x.org")).unwrap();
        for name in &names {
            List::new(&facts, &RULES).add(&SuppressionEntry::new(address(name), Breadth::Global, Reason::Manual, day(0), None, EntrySource::default()), Over::Any, day(0));
        }
        let again = filled(MemoryFacts(facts.facts().0.clone()));
        let stream = Name::new("news").unwrap();
        for name in &names {
            proptest::prop_assert!(List::new(&facts, &RULES).look_up(&address(name), &stream, None, day(0)).is_some());
            proptest::prop_assert!(List::new(&again, &RULES).look_up(&address(name), &stream, None, day(0)).is_some());
        }
        proptest::prop_assert!(List::new(&again, &RULES).look_up(&Address::new("nobody@y.org").unwrap(), &stream, None, day(0)).is_none());
        let folded: std::collections::BTreeSet<_> = names.iter().map(|n| n.to_lowercase()).collect();
        let request = ListRequest::List { filter: EntryFilter::default(), after: None, limit: 100 };
        let ListAnswer::Entries { entries, .. } = List::new(&again, &RULES).perform(&request, day(0)) else { panic!("not entries") };
        proptest::prop_assert_eq!(entries.len(), folded.len());
    }
}
