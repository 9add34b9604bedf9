//! How many recipients receivers take in one transaction, as they say it: "452 too many recipients" (RFC 5321 §4.5.3.1.10).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use posthaste_mail::{Attempt, Failure, Name, Reply, Stage};
use posthaste_smtp::client::{RecipientResult, Report};

/// How long a limit that a receiver showed is kept to. It may have been one of the moment.
const KEPT: Duration = Duration::from_hours(1);
/// Lanes whose limits are remembered, at most.
const LANES_MAX: usize = 10_000;

/// The limits that receivers have shown, by lane: source and provider.
#[derive(Default)]
pub struct AtOnce(Mutex<HashMap<(Name, Name), (usize, Instant)>>);

/// The recipients of a transaction that go into the next one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Again {
    /// Their places.
    pub(crate) places: Vec<usize>,
    /// How many the receiver takes at once, if that is what it said.
    pub(crate) most: Option<usize>,
}

impl AtOnce {
    /// How many recipients of a message go in one transaction of a lane, at most.
    pub(crate) fn most(&self, lane: &Attempt, now: Instant) -> usize {
        let Some(lane) = key(lane) else { return usize::MAX };
        self.lock().get(&lane).filter(|(_, until)| now < *until).map_or(usize::MAX, |(most, _)| *most)
    }

    /// A receiver of a lane takes no more than `most` recipients in one transaction.
    pub(crate) fn learn(&self, lane: &Attempt, most: usize, now: Instant) {
        let Some(lane) = key(lane) else { return };
        let mut known = self.lock();
        if known.len() >= LANES_MAX {
            known.clear();
        }
        let most = known.get(&lane).filter(|(_, until)| now < *until).map_or(most, |(before, _)| most.min(*before));
        tracing::info!(source = %lane.0, provider = %lane.1, most, "the receiver takes fewer recipients in one transaction");
        known.insert(lane, (most, now + KEPT));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Name, Name), (usize, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(lane: &Attempt) -> Option<(Name, Name)> {
    Some((lane.source.clone()?, lane.provider.clone()?))
}

/// The recipients that a receiver had too many of, after it had accepted others in the same transaction. Those that come first and are
/// refused are not among them: their refusal says something else, whatever its words.
pub(crate) fn too_many(report: &Report) -> Again {
    let results = &report.recipients[..];
    if let [first, ..] = report.accepted_in_vain[..] {
        return ended_for_too_many(results, first, &report.accepted_in_vain);
    }
    let at = |result: &RecipientResult| match result {
        RecipientResult::Failed(Failure::Refused { stage, reply }) if says_too_many(*stage, reply) => Some(*stage),
        _ => None,
    };
    let accepted = |result: &RecipientResult| match result {
        RecipientResult::Delivered(_) | RecipientResult::Unknown(_) => true,
        RecipientResult::Failed(failure) => matches!(failure.stage(), Stage::Data | Stage::Dot),
        RecipientResult::NotOffered(_) => false,
    };
    let Some(first) = results.iter().position(accepted) else { return Again::default() };
    let refused: Vec<usize> = (first..results.len()).filter(|place| at(&results[*place]) == Some(Stage::Rcpt)).collect();
    let whole: Vec<usize> = (0..results.len()).filter(|place| matches!(at(&results[*place]), Some(Stage::Data | Stage::Dot))).collect();
    if whole.len() > 1 {
        // It accepted each of them, and not all together.
        let most = Some(whole.len() / 2);
        return Again { places: [whole, refused].concat(), most };
    }
    let last_ones = refused.first().is_some_and(|first| (*first..results.len()).eq(refused.iter().copied()));
    let taken = results.iter().filter(|result| accepted(result)).count();
    Again { most: last_ones.then_some(taken), places: refused }
}

/// The same where the receiver ended the dialogue before it was given the message: with a 421 that says so, or behind a 452. Everybody whom
/// it did not refuse for another reason goes into the next transaction, over another connection.
fn ended_for_too_many(results: &[RecipientResult], first: usize, accepted: &[usize]) -> Again {
    let refusal = |result: &RecipientResult| match result {
        RecipientResult::Failed(Failure::Refused { stage: Stage::Rcpt, reply }) => Some((reply.code, says_too_many(Stage::Rcpt, reply))),
        _ => None,
    };
    if !results[first..].iter().any(|result| matches!(refusal(result), Some((_, true)))) {
        return Again::default();
    }
    let again = |place: &usize| {
        let result = &results[*place];
        accepted.contains(place)
            || matches!(result, RecipientResult::NotOffered(_))
            || matches!(refusal(result), Some((code, many)) if many || code == 421)
    };
    Again { places: (0..results.len()).filter(again).collect(), most: Some(accepted.len()) }
}

/// Whether a refusal says that the transaction has too many recipients. A mailbox that is full has the same codes.
fn says_too_many(stage: Stage, reply: &Reply) -> bool {
    if !matches!(stage, Stage::Rcpt | Stage::Data | Stage::Dot) {
        return false;
    }
    if let Some(code) = reply.enhanced.filter(|code| (code.subject, code.detail) == (5, 3)) {
        return code.class != 2;
    }
    let text = reply.text.to_ascii_lowercase();
    let of_recipients = text.contains("recipient") || text.contains("rcpt");
    let limit = LIMITS.iter().any(|word| text.contains(word));
    let of_others = ["hour", "minute", "per day", "daily", "rate limit", "invalid", "unknown", "bad recipient", "error"];
    if of_recipients && limit {
        return !of_others.iter().any(|word| text.contains(word));
    }
    // RFC 5321 §4.5.3.1.10: 452, and 552 of old servers. With a code of its own it means that code.
    stage == Stage::Rcpt && matches!(reply.code, 452 | 552) && reply.enhanced.is_none_or(|code| (code.subject, code.detail) == (5, 0))
}

/// Words for a limit of recipients.
const LIMITS: [&str; 12] = [
    "too many",
    "maximum",
    "max ",
    "limit",
    "exceed",
    "multiple regions",
    "at a time",
    "only one",
    "one recipient",
    "single recipient",
    "1 recipient",
    "one rcpt",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn report(results: &[RecipientResult]) -> Report {
        Report { recipients: results.to_vec(), accepted_in_vain: Vec::new(), envelope_ms: 0, body_ms: None }
    }

    fn taken() -> RecipientResult {
        RecipientResult::Delivered(Reply::new(250, "taken"))
    }

    fn refused(stage: Stage, code: u16, text: &str) -> RecipientResult {
        RecipientResult::Failed(Failure::Refused { stage, reply: Reply::new(code, text) })
    }

    fn at_rcpt(code: u16, text: &str) -> RecipientResult {
        refused(Stage::Rcpt, code, text)
    }

    #[test]
    fn those_beyond_a_receivers_limit_go_into_the_next_transaction() {
        for (code, text) in [
            (452, "4.5.3 Recipients belong to multiple regions ATTR38"),
            (452, "4.5.3 Too many recipients"),
            (452, "too many recipients"),
            (452, "no more please"),
            (552, "Too many recipients"),
            (550, "5.5.3 Too many recipients"),
            (451, "4.5.3 Too many recipients"),
            (450, "Requested action not taken: maximum number of recipients reached"),
            (451, "4.3.0 Only one recipient per session"),
            (450, "4.7.1 One recipient per message, please"),
            (452, "4.3.0 a single recipient in each transaction"),
        ] {
            let many = || at_rcpt(code, text);
            assert_eq!(too_many(&report(&[taken(), many(), many()])), Again { places: vec![1, 2], most: Some(1) }, "{code} {text}");
            assert_eq!(
                too_many(&report(&[many(), taken(), many()])),
                Again { places: vec![2], most: Some(1) },
                "the first says something else"
            );
            assert_eq!(too_many(&report(&[many(), many()])), Again::default(), "nobody was accepted");
            assert_eq!(too_many(&report(&[taken(), many(), taken()])), Again { places: vec![1], most: None }, "not a matter of numbers");
        }
    }

    #[test]
    fn other_refusals_stay_what_they_are() {
        for (code, text) in [(452, "4.2.2 mailbox full"), (552, "5.2.2 over quota"), (450, "4.2.0 greylisted"), (550, "5.1.1 no such user")]
        {
            assert_eq!(too_many(&report(&[taken(), at_rcpt(code, text)])), Again::default(), "{code} {text}");
        }
        let mail = refused(Stage::Mail, 452, "4.5.3 too many recipients");
        assert_eq!(too_many(&report(&[mail.clone(), mail])), Again::default());
    }

    #[test]
    fn a_receiver_that_ends_the_dialogue_for_its_limit_gets_the_rest_in_another() {
        let lost = || Failure::Local { stage: Stage::Rcpt, cause: posthaste_mail::LocalCause::ConnectionLost, detail: "closed".into() };
        let ended = |failure: Failure, asked: RecipientResult| Report {
            recipients: vec![
                at_rcpt(550, "5.1.1 no such user"),
                RecipientResult::Failed(failure.clone()),
                asked,
                RecipientResult::NotOffered(failure),
            ],
            accepted_in_vain: vec![1],
            envelope_ms: 0,
            body_ms: None,
        };
        let refusal = |code, text: &str| Failure::Refused { stage: Stage::Rcpt, reply: Reply::new(code, text) };
        let rest = Again { places: vec![1, 2, 3], most: Some(1) };
        for (code, text) in [(421, "4.5.3 too many recipients"), (421, "Too many recipients received this session")] {
            assert_eq!(too_many(&ended(refusal(code, text), RecipientResult::Failed(refusal(code, text)))), rest, "{code} {text}");
        }
        assert_eq!(too_many(&ended(lost(), at_rcpt(452, "4.5.3 too many recipients"))), rest, "452, then it closed");
        assert_eq!(too_many(&ended(refusal(421, "closing"), at_rcpt(452, "too many recipients"))), rest, "452, then 421");
        for (code, text) in [(421, "4.7.0 closing"), (421, "4.7.0 too many invalid recipients"), (421, "too many recipients this hour")] {
            assert_eq!(
                too_many(&ended(refusal(code, text), RecipientResult::Failed(refusal(code, text)))),
                Again::default(),
                "{code} {text}"
            );
        }
        assert_eq!(too_many(&ended(lost(), RecipientResult::NotOffered(lost()))), Again::default(), "it just died");
    }

    #[test]
    fn a_message_that_is_refused_for_its_recipients_goes_in_halves() {
        for stage in [Stage::Data, Stage::Dot] {
            let many = || refused(stage, 452, "4.5.3 too many recipients");
            assert_eq!(too_many(&report(&[many(), many(), many(), many()])), Again { places: vec![0, 1, 2, 3], most: Some(2) });
            assert_eq!(too_many(&report(&[many()])), Again::default());
        }
    }

    #[test]
    fn a_limit_is_kept_to_for_its_lane_and_for_a_while() {
        let lane = |provider: &str| Attempt { source: Name::new("ip1").ok(), provider: Name::new(provider).ok(), ..Attempt::default() };
        let (known, now) = (AtOnce::default(), posthaste_host::clock::instant());
        known.learn(&lane("a.example"), 3, now);
        assert_eq!((known.most(&lane("a.example"), now), known.most(&lane("b.example"), now)), (3, usize::MAX));
        known.learn(&lane("a.example"), 9, now);
        assert_eq!(known.most(&lane("a.example"), now), 3, "a session that began before");
        assert_eq!(known.most(&lane("a.example"), now + KEPT), usize::MAX);
    }
}
