//! What holds of any mail.

use proptest::prelude::*;

use super::*;

const STREAMS: [&str; 2] = ["app", "news"];
const PROVIDERS: [&str; 3] = ["google", "yahoo", "microsoft"];

/// Where a bad event happens: a pair, a day (None: the last 24 hours), a measure.
type Place = ((&'static str, &'static str), Option<i32>, Measure);

fn place() -> impl Strategy<Value = Place> {
    let pair = (prop::sample::select(&STREAMS), prop::sample::select(&PROVIDERS));
    (pair, prop::option::of(0..18), prop::sample::select(&Measure::ALL))
}

/// Shares of any measures anywhere, with more bad ones than there are some of the time.
fn mail() -> impl Strategy<Value = Vec<(Place, Share)>> {
    let number = prop_oneof![0..300_u64, 0..20_000_u64, Just(u64::MAX)];
    let of = prop_oneof![0..1500_u64, 0..200_000_u64, Just(u64::MAX)];
    prop::collection::vec((place(), (number, of).prop_map(|(bad, of)| Share { bad, of })), 0..60)
}

fn counts<'a>(inputs: &'a mut Inputs, ((stream, provider), day, measure): &Place) -> &'a mut Counts {
    let history = match measure {
        Measure::Suppressed => inputs.suppressed.entry((*stream).to_owned()).or_default(),
        _ => inputs.pairs.entry(((*stream).to_owned(), (*provider).to_owned())).or_default(),
    };
    match day {
        Some(days) => history.days.of(days_ago(*days)),
        None => &mut history.last_day,
    }
}

fn relay_of(mail: &[(Place, Share)], stopped: Option<&str>) -> Relay {
    let mut relay = Relay::new();
    for (place, share) in mail {
        let counts = counts(&mut relay.inputs, place);
        counts.set(place.2, *share);
        counts.finished = counts.finished.max(share.of);
    }
    stopped.into_iter().fold(relay, |relay, provider| relay.stopped("ip1", provider))
}

/// All scores by a name.
fn all(scores: &Scores) -> Vec<(String, &Score)> {
    let named = |kind: &'static str, map| std::collections::BTreeMap::iter(map).map(move |(key, score)| (format!("{kind} {key}"), score));
    let pairs = scores.pairs.iter().map(|pair| (format!("{}/{}", pair.stream, pair.provider), &pair.score));
    let kinds = named("stream", &scores.streams).chain(named("provider", &scores.providers)).chain(pairs);
    [("all".to_owned(), &scores.all)].into_iter().chain(kinds).chain(named("domain", &scores.domains)).collect()
}

/// What each lost in all: finer than the rounded value.
fn lost(score: &Score) -> f64 {
    score.losses.iter().map(|loss| loss.points).sum()
}

/// Whether every score of `after` is no better than before.
fn none_is_better(before: &Scores, after: &Scores) {
    for ((name, before), (_, after)) in all(before).into_iter().zip(all(after)) {
        assert!(after.value <= before.value && lost(after) >= lost(before) - 1e-9, "{name}: {before:?}\nbecame\n{after:?}");
    }
}

/// Mail in which everything is measured: more of it on each day than any minimum.
fn enough() -> impl Strategy<Value = Mail> {
    let bad = || prop_oneof![0..5_u64, 0..150_u64, 0..1200_u64];
    let parts = (2000..6000_u64, [bad(), bad(), bad(), bad()], [bad(), bad(), bad(), bad()], [bad(), bad(), bad(), bad(), bad()]);
    parts.prop_map(|(delivered, bounced, told, lacking)| {
        let [unknown, full, refused, too_large] = bounced;
        let [late_unknown, complained, put_off, unsubscribed] = told.map(|number| number.min(delivered / 4));
        let [plain, unsigned, spf_failed, no_dmarc, no_fields] = lacking;
        let mail =
            Mail { delivered, unknown, full, refused, too_large, late_unknown, complained, put_off, greylisted: 0, ..Mail::default() };
        Mail { unsubscribed, plain, unsigned, spf_failed, no_dmarc, no_fields, ..mail }
    })
}

/// One recipient, or some, for whom things go badly in place of well: the same mail otherwise.
fn turn(mail: Mail, what: usize, times: u64) -> Mail {
    let Mail { delivered, unknown, full, refused, late_unknown, complained, put_off, unsubscribed, .. } = mail;
    let bounced = delivered - times;
    match what {
        0 => Mail { delivered: bounced, unknown: unknown + times, ..mail },
        1 => Mail { delivered: bounced, full: full + times, ..mail },
        2 => Mail { delivered: bounced, refused: refused + times, ..mail },
        3 => Mail { late_unknown: late_unknown + times, ..mail },
        4 => Mail { complained: complained + times, ..mail },
        5 => Mail { put_off: put_off + times, ..mail },
        6 => Mail { unsubscribed: unsubscribed + times, ..mail },
        7 => Mail { plain: mail.plain + times, ..mail },
        8 => Mail { unsigned: mail.unsigned + times, ..mail },
        9 => Mail { spf_failed: mail.spf_failed + times, ..mail },
        10 => Mail { no_dmarc: mail.no_dmarc + times, ..mail },
        _ => Mail { no_fields: mail.no_fields + times, ..mail },
    }
}

/// The classes of each measure that is a share of finished recipients.
const UNKNOWN_FULL_REFUSED: [&[Class]; 3] = [
    &[Class::InvalidRecipient, Class::BadDomain],
    &[Class::MailboxFull, Class::InactiveMailbox],
    &[Class::IpReputation, Class::PolicyAuth, Class::SpamContent],
];

/// How a recipient ends badly, or is told to after its delivery.
const ENDS: [(Counter, ByClass); 3] =
    [(Counter::Bounced, ByClass::Bounced), (Counter::Expired, ByClass::Expired), (Counter::LateBounced, ByClass::LateBounced)];

/// The mail, with so many recipients more that end badly.
fn and(mail: Mail, (counter, by): (Counter, ByClass), class: Class, times: u64) -> Cell {
    let is_late = by == ByClass::LateBounced;
    let mut cell = Mail { delivered: mail.delivered + if is_late { times } else { 0 }, ..mail }.cell();
    cell.add(counter, times);
    cell.add((by, class), times);
    if !is_late {
        [Counter::Accepted, Counter::Attempts, Counter::FirstAttempts].into_iter().for_each(|counter| cell.add(counter, times));
    }
    cell
}

#[test]
fn what_is_added_shares_the_denominators_and_is_never_better_than_good_mail() {
    let score = |mail: Mail| Relay::new().today("app", "google", mail).score().value;
    let mail = Mail { delivered: 850, unknown: 100, full: 50, ..Mail::default() };
    let (before, more, good) = (score(mail), score(Mail { unknown: 1100, ..mail }), score(Mail { delivered: 1850, ..mail }));
    // Of 5 % full mailboxes 2.5 % are left, and unknown users cost all that they can before and after.
    assert!(before < more && more < good, "{before:?} {more:?} {good:?}");
}

proptest! {
    /// Of any class, at once, in the end or after the delivery: who was delivered in every way well is not any more.
    #[test]
    fn a_delivery_that_ends_badly_never_raises_a_score(
        mails in prop::collection::vec((0..15, prop::sample::select(&STREAMS), prop::sample::select(&PROVIDERS), enough()), 1..8),
        at in any::<prop::sample::Index>(), end in prop::sample::select(&ENDS), class in prop::sample::select(Class::ALL), times in 1..200_u64,
    ) {
        let at = at.index(mails.len());
        let relay = |turned: bool| mails.iter().enumerate().fold(Relay::new(), |relay, (number, (day, stream, provider, mail))| {
            let cell = match turned && number == at {
                true => and(Mail { delivered: mail.delivered - times, ..*mail }, end, class, times),
                false => mail.cell(),
            };
            relay.counted(*day, stream, provider, &cell)
        });
        none_is_better(&relay(false).scores(), &relay(true).scores());
    }

    /// Nothing that is added and ends badly leaves a pair with more than as much good mail would, and where nothing else of it is a share of the
    /// same recipients, it leaves no more than there was.
    #[test]
    fn mail_that_is_added_and_ends_badly_never_raises_a_pairs_score_by_itself(
        mail in enough(), suppressed in 0..500_u64, end in prop::sample::select(&ENDS), class in prop::sample::select(Class::ALL), times in 1..5000_u64,
    ) {
        let scores = |cell: &Cell, suppressed| Relay::new().counted(0, "news", "yahoo", cell).suppressed("news", suppressed).scores();
        let (bad, good) = (and(mail, end, class, times), Mail { delivered: mail.delivered + times, ..mail }.cell());
        none_is_better(&scores(&good, suppressed), &scores(&bad, suppressed));
        let alone = Mail { unknown: 0, full: 0, refused: 0, late_unknown: 0, put_off: 0, ..mail };
        let before = match UNKNOWN_FULL_REFUSED.iter().position(|classes| classes.contains(&class)) {
            Some(0) => Mail { unknown: mail.unknown, late_unknown: mail.late_unknown, ..alone },
            Some(1) => Mail { full: mail.full, ..alone },
            Some(_) => Mail { refused: mail.refused, ..alone },
            None => alone,
        };
        // Who bounces late was delivered: of its delivery nothing may be bad either.
        let before = match end.1 {
            ByClass::LateBounced => Mail { plain: 0, unsigned: 0, spf_failed: 0, no_dmarc: 0, no_fields: 0, ..before },
            _ => before,
        };
        none_is_better(&scores(&before.cell(), 0), &scores(&and(before, end, class, times), 0));
    }

    /// The same recipients, deliveries and tries, of which more are bad: of any measure, of any pair, on any day.
    #[test]
    fn more_bad_events_never_raise_a_score(
        mail in mail(), bad in place(), more in 1..5000_u64, stopped in prop::option::of(prop::sample::select(&PROVIDERS)),
    ) {
        let mut before = relay_of(&mail, stopped);
        counts(&mut before.inputs, &bad);
        let mut after = relay_of(&mail, stopped);
        let counts = counts(&mut after.inputs, &bad);
        let Share { bad: already, of } = counts.share(bad.2);
        counts.set(bad.2, Share { bad: already.saturating_add(more), of });
        none_is_better(&before.scores(), &after.scores());
    }

    /// Recipients of real cells: who was delivered bounces, at once or late, or complains, or is put off first, …
    #[test]
    fn mail_that_goes_badly_in_place_of_well_never_raises_a_score(
        mails in prop::collection::vec((0..15, prop::sample::select(&STREAMS), prop::sample::select(&PROVIDERS), enough()), 1..8),
        at in any::<prop::sample::Index>(), what in 0..12_usize, times in 1..200_u64,
    ) {
        let at = at.index(mails.len());
        let relay = |turned: bool| mails.iter().enumerate().fold(Relay::new(), |relay, (number, (day, stream, provider, mail))| {
            relay.on(*day, stream, provider, if turned && number == at { turn(*mail, what, times) } else { *mail })
        });
        none_is_better(&relay(false).scores(), &relay(true).scores());
    }

    #[test]
    fn more_suppressed_recipients_never_raise_a_score(mails in prop::collection::vec(enough(), 1..4), before in 0..3000_u64, more in 1..500_u64) {
        let relay = |suppressed| mails.iter().zip(PROVIDERS).fold(Relay::new(), |relay, (mail, provider)| relay.today("app", provider, *mail))
            .suppressed("app", suppressed);
        none_is_better(&relay(before).scores(), &relay(before + more).scores());
    }

    #[test]
    fn a_stopped_lane_never_raises_a_score(mail in mail(), provider in prop::sample::select(&PROVIDERS)) {
        none_is_better(&relay_of(&mail, None).scores(), &relay_of(&mail, Some(provider)).scores());
    }

    /// Of a pair. A mean may fall: more mail to the worse provider makes it weigh more.
    #[test]
    fn more_good_mail_never_lowers_a_pairs_score(mail in enough(), day in 0..15, more in 1..5000_u64, good in 0..15) {
        let before = Relay::new().on(day, "news", "yahoo", mail);
        let after = Relay::new().on(day, "news", "yahoo", mail).on(good, "news", "yahoo", Mail::good(more));
        // The last 24 hours, which may have been nothing, are a view of their own: it is good, or as before and better.
        let (before, after) = (before.score(), after.score());
        prop_assert!(after.value >= before.value && lost(&after) <= lost(&before) + 1e-9, "{before:?}\nbecame\n{after:?}");
    }

    #[test]
    fn a_score_is_from_0_to_100_and_its_losses_are_what_it_lacks(
        mail in mail(), listed in prop::option::of(any::<u64>()), stopped in prop::option::of(prop::sample::select(&PROVIDERS)),
    ) {
        let mut relay = relay_of(&mail, stopped);
        relay.inputs.pairs.values_mut().for_each(|history| history.listed = listed);
        relay.inputs.domains = relay.inputs.pairs.iter().map(|(pair, history)| (pair.0.clone(), history.clone())).collect();
        for (name, score) in all(&relay.scores()) {
            let Some(value) = score.value else {
                prop_assert!(score.losses.is_empty() && score.measured == 0, "{name}: {score:?}");
                continue;
            };
            prop_assert!(value <= 100 && (100.0 - f64::from(value) - lost(score)).abs() <= 0.500_001, "{name}: {score:?}");
            prop_assert!(score.losses.iter().all(|loss| loss.points >= 0.0 && loss.bad <= loss.of.max(loss.bad.min(1)) && loss.at_least.is_finite()));
            prop_assert!(score.losses.is_sorted_by(|one, next| one.points >= next.points));
            prop_assert!(score.measured > 0 && score.factors.iter().flat_map(|factor| factor.value).all(|left| (0.0..=100.0).contains(&left)));
        }
    }

    /// A block that comes in two, or in another order, gives the same.
    #[test]
    fn days_merge(mails in prop::collection::vec((0..15, prop::sample::select(&STREAMS), prop::sample::select(&PROVIDERS), enough()), 1..8)) {
        let each = |relay: Relay, (day, stream, provider, mail): &(i32, &str, &str, Mail)| relay.on(*day, stream, provider, *mail);
        let forwards = mails.iter().fold(Relay::new(), each);
        let backwards = mails.iter().rev().fold(Relay::new(), each);
        prop_assert_eq!(&forwards.inputs, &backwards.inputs);
        // All of a day's cells first made one block.
        let mut merged = Relay::new();
        for day in 0..15 {
            for dimension in [Dimension::StreamProvider, Dimension::Stream] {
                let mut block = Block::default();
                for (_, stream, provider, mail) in mails.iter().filter(|(on, ..)| *on == day) {
                    let key = if dimension == Dimension::Stream { (*stream).to_owned() } else { pair(stream, provider) };
                    block.cell(&key).merge(&mail.cell());
                }
                if !block.is_empty() {
                    merged.inputs.add_cohort(dimension, days_ago(day), &block);
                    if day == 0 {
                        merged.inputs.add_last_day(dimension, &block);
                    }
                }
            }
        }
        prop_assert_eq!(forwards.scores(), merged.scores());
    }
}
