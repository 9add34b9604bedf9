//! Quoted replies: on a command line, in a log, in a bounce mail, with or without codes.

use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use posthaste_mail::{EnhancedCode, Failure, Reply, Stage};

use crate::codes::{basic_at, codes_in};

/// The parts of a quoted reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The basic code; 0 if the text has none.
    pub code: u16,
    /// The enhanced code, from anywhere in the text.
    pub enhanced: Option<EnhancedCode>,
    /// The stage, if the text names it ("in reply to RCPT TO command").
    pub stage: Option<Stage>,
    /// The text as received.
    pub text: String,
}

impl Quoted {
    /// Reads `550 5.1.1 no`, `550-5.7.1 a\n550 5.7.1 b`, `smtp; 550 …`, `host mx[192.0.2.1] said: 550 … (in reply to RCPT TO command)`.
    pub fn read(raw: &str) -> Self {
        let text = said(raw);
        let (code, enhanced) = codes_in(text);
        Self { code, enhanced, stage: stage_in(raw), text: text.to_owned() }
    }
}

impl From<&Failure> for Quoted {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Refused { stage, reply } => Self::from_reply(*stage, reply),
            Failure::Local { stage, detail, .. } => Self { code: 0, enhanced: None, stage: Some(*stage), text: detail.clone() },
        }
    }
}

impl Quoted {
    fn from_reply(stage: Stage, reply: &Reply) -> Self {
        let enhanced = reply.enhanced.or_else(|| codes_in(&reply.text).1);
        Self { code: reply.code, enhanced, stage: Some(stage), text: reply.text.clone() }
    }
}

/// The receiver's words, without those of the quoting host before them (`host mx[192.0.2.1] said: `) and behind them (`(in reply to RCPT TO
/// command)`), which explain nothing.
fn said(raw: &str) -> &str {
    let raw = raw.rfind(" (in reply to ").filter(|at| raw.len() - at <= TAIL_MAX).map_or(raw, |at| &raw[..at]);
    let Some(at) = basic_at(raw) else { return raw };
    let (before, reply) = raw.split_at(at);
    let words = reply.split_whitespace().skip(1).filter(|w| w.chars().any(char::is_alphabetic)).count();
    if words >= 2 && !before.trim().is_empty() { reply } else { raw }
}

/// The longest that Postfix writes behind a reply, in bytes.
const TAIL_MAX: usize = 64;

/// The command that got the reply, as the quoting host names it (Postfix, Exim, Sendmail, Exchange, DragonFly).
fn stage_in(text: &str) -> Option<Stage> {
    static AUTOMATON: OnceLock<AhoCorasick> = OnceLock::new();
    let automaton = AUTOMATON.get_or_init(|| AhoCorasick::new(SIGNS.map(|(sign, _)| sign)).expect("a few short signs fit an automaton"));
    let first = automaton.find_overlapping_iter(text).map(|found| found.pattern().as_usize()).min()?;
    Some(SIGNS[first].1)
}

/// The words that tell the stage; if a text has several, the first of this list decides.
const SIGNS: [(&str, Stage); 19] = [
    ("refused to talk to me", Stage::Banner),
    ("in reply to RCPT TO", Stage::Rcpt),
    ("in reply to MAIL FROM", Stage::Mail),
    ("in reply to end of DATA", Stage::Dot),
    ("in reply to DATA", Stage::Data),
    ("in reply to EHLO", Stage::Ehlo),
    ("in reply to HELO", Stage::Ehlo),
    ("after RCPT TO", Stage::Rcpt),
    ("after MAIL FROM", Stage::Mail),
    ("after end of data", Stage::Dot),
    ("after DATA", Stage::Data),
    ("after initial connection", Stage::Banner),
    ("after HELO", Stage::Ehlo),
    ("after EHLO", Stage::Ehlo),
    ("our RCPT TO", Stage::Rcpt),
    ("our MAIL FROM", Stage::Mail),
    ("RCPT TO command", Stage::Rcpt),
    ("following RCPT command", Stage::Rcpt),
    ("MAIL FROM command", Stage::Mail),
];
