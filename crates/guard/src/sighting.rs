//! What the rules found, as far as the guard may act on it.

use posthaste_findings::{About, Finding, Key, Rule, Severity};
use posthaste_mail::Name;
use posthaste_queue::MailOf;

/// A critical finding about a user or a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// About whom.
    pub of: MailOf,
    /// The rule.
    pub rule: Rule,
    /// What is wrong, as a sentence.
    pub why: String,
    /// The figure and its limit, in words.
    pub figure: String,
    /// Of a stream: the users whose mail it is, if the rest of the stream is as usual.
    pub explained_by: Vec<MailOf>,
}

impl Sighting {
    /// What a finding, which the mail of these users explains, is for the guard; None: nothing.
    pub fn of(finding: &Finding, explained_by: &[Key]) -> Option<Self> {
        if finding.severity < Severity::Critical || finding.rule == Rule::Guard {
            return None;
        }
        let measure = &finding.measure;
        let of = measure.of.map_or_else(String::new, |of| format!(" of {of}"));
        Some(Self {
            of: mail_of(&finding.key)?,
            rule: finding.rule,
            why: finding.summary.clone(),
            figure: format!("{}{of} {}, limit {}", measure.n, measure.what, measure.limit),
            explained_by: explained_by.iter().filter_map(mail_of).collect(),
        })
    }
}

/// Whose mail a key names; None: it names something else.
fn mail_of(key: &Key) -> Option<MailOf> {
    match key.about {
        About::User => Some(MailOf::User(key.value.as_str().into())),
        About::Stream => Name::new(&key.value).ok().map(MailOf::Stream),
        _ => None,
    }
}

/// What a finding says that this mail is held.
pub(crate) fn key_of(of: &MailOf) -> Key {
    let about = match of {
        MailOf::User(_) => About::User,
        MailOf::Stream(_) => About::Stream,
    };
    Key::new(about, of.name())
}
