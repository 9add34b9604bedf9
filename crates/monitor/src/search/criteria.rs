//! What is searched for.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, Unit};
use posthaste_mail::{Class, nearest};

use super::texts::{AddressText, IdText, MetaText, same};
use crate::{LogRecord, LogText, events, index::bare};

/// What a line must hold: everything that is Some, without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria {
    /// The recipient.
    pub rcpt: Option<AddressText>,
    /// The reverse-path; as a domain, also that of the From field.
    pub sender: Option<AddressText>,
    /// The message's id; the lines of the notices about it count too.
    pub message: Option<IdText>,
    /// The Message-ID field, with or without angle brackets.
    pub message_id: Option<IdText>,
    /// One of the message's tags.
    pub tag: Option<String>,
    /// One of the message's metadata.
    pub meta: Option<MetaText>,
    /// What the reply meant, a word of [`Class`].
    pub class: Option<String>,
    /// The recipient's domain.
    pub domain: Option<String>,
    /// Who runs the recipient's mailbox.
    pub provider: Option<String>,
    /// The event, a word of [`events`], or [`REFUSED`].
    pub event: Option<String>,
    /// The message's stream.
    pub stream: Option<String>,
    /// Who submitted the message, or claimed to be it and was refused.
    pub user: Option<String>,
    /// What sent it.
    pub source: Option<String>,
    /// The earliest time, inclusive.
    pub since: Option<Timestamp>,
    /// The latest time, exclusive.
    pub until: Option<Timestamp>,
}

/// The word for the events by which receivers turn mail away: for now, for good, and until it was given up.
pub const REFUSED: &str = "refused";

/// Why something cannot be searched for. The text is for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CriteriaError {
    /// A word that no line can have, or a criterion that there is not.
    #[error("there is no {kind} {text:?}; {many} are: {}{}", words.join(", "), meant(text, words))]
    NoSuch {
        /// What it should have been: `event`, `class` or `criterion`.
        kind: &'static str,
        /// More than one of these.
        many: &'static str,
        /// The word as it was given.
        text: String,
        /// The words that there are.
        words: Vec<String>,
    },
    /// No time.
    #[error("{name}: {text:?} is neither a time such as 2026-11-23T10:00:00Z nor an age such as 2h")]
    NoTime {
        /// The criterion.
        name: &'static str,
        /// As it was given.
        text: String,
    },
    /// No time lies between the two.
    #[error("since ({since}) is not before until ({until}), so no line can match")]
    NoTimeBetween {
        /// The earliest time.
        since: Timestamp,
        /// The time before which lines must be.
        until: Timestamp,
    },
}

fn meant(text: &str, words: &[String]) -> String {
    nearest(text, words.iter().map(String::as_str)).map_or_else(String::new, |word| format!("; did you mean {word}?"))
}

/// The names of the criteria, as [`Criteria::read`] takes them.
const NAMES: [&str; 16] = [
    "rcpt",
    "sender",
    "sender_domain",
    "message",
    "message_id",
    "tag",
    "meta",
    "class",
    "domain",
    "provider",
    "event",
    "stream",
    "user",
    "source",
    "since",
    "until",
];

impl Criteria {
    /// Reads names and values, as a form or a query string has them; empty values are left out. The names are those of the fields. Times are
    /// RFC 3339 or ages before `now` (`2h`).
    ///
    /// # Errors
    /// There is no such name, event or class, or a time is none.
    pub fn read<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>, now: Timestamp) -> Result<Self, CriteriaError> {
        let mut criteria = Self::default();
        for (name, text) in fields.into_iter().map(|(name, text)| (name, text.trim())).filter(|(_, text)| !text.is_empty()) {
            criteria.set(name, text, now)?;
        }
        match (criteria.since, criteria.until) {
            (Some(since), Some(until)) if since >= until => Err(CriteriaError::NoTimeBetween { since, until }),
            _ => Ok(criteria),
        }
    }

    fn set(&mut self, name: &str, text: &str, now: Timestamp) -> Result<(), CriteriaError> {
        let own = || Some(text.to_owned());
        let time = |name| moment(text, now).ok_or_else(|| CriteriaError::NoTime { name, text: text.to_owned() });
        match name {
            "rcpt" => self.rcpt = Some(AddressText::new(text)),
            "sender" => self.sender = Some(AddressText::new(text)),
            // A sender says more than its domain.
            "sender_domain" => drop(self.sender.get_or_insert_with(|| AddressText::domain_alone(text))),
            "message" => self.message = Some(IdText::message(text)),
            "message_id" => self.message_id = Some(IdText::message_id(text)),
            "tag" => self.tag = own(),
            "meta" => self.meta = Some(MetaText::new(text)),
            "class" => {
                let words = Class::ALL.iter().map(|class| class.as_str().to_owned()).collect();
                self.class = Some(known("class", "classes", &text.replace('-', "_"), words)?);
            }
            "domain" => self.domain = Some(AddressText::domain(text)),
            "provider" => self.provider = own(),
            "event" => {
                let words = events().into_iter().chain([REFUSED.to_owned()]).collect();
                self.event = Some(known("event", "events", text, words)?);
            }
            "stream" => self.stream = own(),
            "user" => self.user = own(),
            "source" => self.source = own(),
            "since" => self.since = Some(time("since")?),
            "until" => self.until = Some(time("until")?),
            _ => drop(known("criterion", "criteria", name, NAMES.map(str::to_owned).to_vec())?),
        }
        Ok(())
    }

    /// Whether the record has all of it.
    pub fn matches(&self, record: &LogRecord<'_>) -> bool {
        let is = |wanted: &Option<String>, has: Option<&LogText<'_>>| match wanted {
            Some(wanted) => has.is_some_and(|has| same(has, wanted)),
            None => true,
        };
        self.event_matches(&record.event)
            && is(&self.domain, record.domain.as_ref())
            && is(&self.provider, record.provider.as_ref())
            && is(&self.stream, record.stream.as_ref())
            && is(&self.class, record.class.as_ref())
            && is(&self.user, record.user.as_ref())
            && is(&self.source, record.source.as_ref())
            && self.tag.as_ref().is_none_or(|tag| record.tags.iter().any(|has| same(has, tag)))
            && self.meta.as_ref().is_none_or(|meta| record.meta.iter().any(|has| meta.is(has)))
            && self.rcpt.as_ref().is_none_or(|rcpt| record.rcpt.as_ref().is_some_and(|has| rcpt.is(has)))
            && self.sender_matches(record)
            && self.ids_match(record)
            && self.time_matches(record)
    }

    /// Whether this event is asked for.
    pub(super) fn event_matches(&self, event: &str) -> bool {
        match self.event.as_deref() {
            None => true,
            Some(REFUSED) => matches!(event, "deferred" | "bounced" | "expired"),
            Some(wanted) => same(event, wanted),
        }
    }

    /// The event that every line has which matches; None: there are several.
    pub(super) fn one_event(&self) -> Option<&String> {
        self.event.as_ref().filter(|event| *event != REFUSED)
    }

    fn sender_matches(&self, record: &LogRecord<'_>) -> bool {
        let Some(sender) = &self.sender else { return true };
        let author = || matches!((sender, &record.from_domain), (AddressText::Domain(domain), Some(has)) if same(has, domain));
        record.from.as_ref().is_some_and(|has| sender.is(has)) || author()
    }

    fn ids_match(&self, record: &LogRecord<'_>) -> bool {
        let ids = [&record.message, &record.notice_of];
        self.message.as_ref().is_none_or(|id| ids.into_iter().flatten().any(|has| id.is(has)))
            && self.message_id.as_ref().is_none_or(|id| record.message_id.as_ref().is_some_and(|has| id.is(bare(has))))
    }

    fn time_matches(&self, record: &LogRecord<'_>) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(time) = record.time() else { return false };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }
}

/// One of the words, or an error that names them.
fn known(kind: &'static str, many: &'static str, text: &str, words: Vec<String>) -> Result<String, CriteriaError> {
    match words.iter().position(|word| word.eq_ignore_ascii_case(text)) {
        Some(at) => Ok(words[at].clone()),
        None => Err(CriteriaError::NoSuch { kind, many, text: text.to_owned(), words }),
    }
}

/// A time in RFC 3339, or the time that lies such an age (`2h`) before `now`.
fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let seconds = text.parse::<Span>().ok()?.total((Unit::Second, SpanRelativeTo::days_are_24_hours())).ok()?;
    now.checked_sub(SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        crate::samples::at(0)
    }

    fn read(fields: &[(&str, &str)]) -> Result<Criteria, String> {
        Criteria::read(fields.iter().copied(), now()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_form_with_empty_fields_asks_for_what_is_filled_in() {
        assert_eq!(read(&[("rcpt", ""), ("tag", "  "), ("since", "")]), Ok(Criteria::default()));
        let read = read(&[("event", "Deferred"), ("class", "rate-limited"), ("since", "2h"), ("until", "2026-08-24T10:00:00Z")]).unwrap();
        assert_eq!((read.event.as_deref(), read.class.as_deref()), (Some("deferred"), Some("rate_limited")));
        assert_eq!((read.since, read.until), (Some(crate::samples::at(-7200)), Some(now())));
    }

    #[test]
    fn refused_is_a_word_for_three_events() {
        let refused = Criteria::read([("event", "refused")], now()).unwrap();
        let asked_for = |event: &str| {
            let line = format!(r#"{{"time":"2026-08-24T10:00:00Z","event":"{event}"}}"#);
            refused.matches(&LogRecord::parse(line.as_bytes()).unwrap())
        };
        assert_eq!(events().iter().filter(|event| asked_for(event)).collect::<Vec<_>>(), ["deferred", "bounced", "expired"]);
    }

    #[test]
    fn a_slip_is_told_with_the_word_that_was_meant() {
        let slip = read(&[("event", "deliverd")]).unwrap_err();
        assert!(slip.contains("events are: accepted, ") && slip.ends_with("did you mean delivered?"), "{slip}");
        let slip = read(&[("class", "rate_limitd")]).unwrap_err();
        assert!(slip.contains("classes are: ") && slip.ends_with("did you mean rate_limited?"), "{slip}");
        let slip = read(&[("recipient", "a@x.org")]).unwrap_err();
        assert!(slip.starts_with("there is no criterion \"recipient\"; criteria are: rcpt, "), "{slip}");
        assert!(read(&[("since", "yesterday")]).unwrap_err().contains("neither a time"));
        assert!(read(&[("since", "1h"), ("until", "2h")]).unwrap_err().contains("not before until"));
    }
}
