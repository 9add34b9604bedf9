//! The format of a rule file, and errors that name the line.

use std::ops::RangeInclusive;

use posthaste_mail::{Action, Class, Scope, Stage};
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

/// An error in a rule file: where and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {}{message}", key.as_ref().map(|k| format!("{k}: ")).unwrap_or_default())]
pub struct RuleError {
    /// The name of the file, as the caller gave it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The key that is wrong.
    pub key: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// A rule file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleFile {
    #[serde(default, rename = "provider")]
    pub(crate) providers: Vec<ProviderSigns>,
    #[serde(default, rename = "rule")]
    pub(crate) rules: Vec<Spanned<Rule>>,
}

/// A provider, with its hosts and the words that identify its replies.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProviderSigns {
    pub(crate) name: String,
    /// The ends of its MX host names.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// Patterns in the text of its replies.
    #[serde(default)]
    pub(crate) signs: Vec<String>,
    /// Its page about refusals, for rules that name none.
    pub(crate) page: Option<std::sync::Arc<str>>,
}

/// One rule. Conditions of different keys must all hold; of the values of one key, any.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) id: String,
    /// One of these patterns has to occur in the text.
    #[serde(default)]
    pub(crate) text: Vec<String>,
    /// One of these has to occur too.
    #[serde(default)]
    pub(crate) and: Vec<String>,
    /// None of these may occur.
    #[serde(default)]
    pub(crate) not: Vec<String>,
    #[serde(default)]
    pub(crate) code: Vec<CodePattern>,
    #[serde(default)]
    pub(crate) enhanced: Vec<EnhancedPattern>,
    #[serde(default)]
    pub(crate) stage: Vec<Stage>,
    #[serde(default)]
    pub(crate) provider: Vec<String>,
    pub(crate) class: Class,
    pub(crate) scope: Option<Scope>,
    pub(crate) action: Option<Action>,
    pub(crate) permanent: Option<bool>,
    #[serde(deserialize_with = "confidence")]
    pub(crate) confidence: f32,
    pub(crate) why: Option<String>,
    pub(crate) link: Option<String>,
    #[serde(deserialize_with = "filled_list")]
    pub(crate) example: Vec<String>,
    /// For readers of the file; the program only checks that it is not empty.
    #[serde(deserialize_with = "filled", rename = "source")]
    _source: String,
}

impl RuleFile {
    pub(crate) fn read(file: &str, text: &str) -> Result<Self, RuleError> {
        let read: Self = toml::from_str(text).map_err(|e| error_at(file, text, e.span().map_or(0, |s| s.start), e.message()))?;
        for rule in &read.rules {
            let inner = rule.get_ref();
            let complaint = if inner.id.trim().is_empty() {
                "a rule needs an id"
            } else if inner.text.is_empty() && inner.enhanced.is_empty() && inner.code.is_empty() {
                "a rule needs a condition: text, enhanced or code"
            } else {
                continue;
            };
            return Err(error_at(file, text, rule.span().start, complaint));
        }
        Ok(read)
    }
}

/// An error at the byte `at`; the key is taken from its line.
pub(crate) fn error_at(file: &str, text: &str, at: usize, message: &str) -> RuleError {
    let before = text.get(..at).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let key = text.lines().nth(line - 1).and_then(|l| l.split_once('=')).map(|(k, _)| k.trim().to_owned());
    RuleError { file: file.to_owned(), line, key, message: message.trim().to_owned() }
}

/// A basic code `550`, a range `"550-554"`, or a whole class `"5xx"`.
#[derive(Debug, Clone)]
pub(crate) struct CodePattern(RangeInclusive<u16>);

impl CodePattern {
    pub(crate) fn fits(&self, code: u16) -> bool {
        self.0.contains(&code)
    }

    /// The range from the lowest to the highest code that any of these patterns matches; all codes if there are no patterns.
    pub(crate) fn span(patterns: &[Self]) -> RangeInclusive<u16> {
        let least = patterns.iter().map(|p| *p.0.start()).min().unwrap_or(0);
        least..=patterns.iter().map(|p| *p.0.end()).max().unwrap_or(u16::MAX)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let said = || format!("{text:?} is not a reply code: write 550, \"5xx\" or \"550-554\"");
        if let Some(first) = text.strip_suffix("xx") {
            let first: u16 = first.parse().map_err(|_| said())?;
            return Ok(Self(first * 100..=first * 100 + 99));
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let (from, to) = (from.trim().parse().map_err(|_| said())?, to.trim().parse().map_err(|_| said())?);
        if (200..600).contains(&from) && from <= to && to < 600 { Ok(Self(from..=to)) } else { Err(said()) }
    }
}

impl<'de> Deserialize<'de> for CodePattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u16),
            Text(String),
        }
        let text = match Either::deserialize(d)? {
            Either::Number(n) => n.to_string(),
            Either::Text(t) => t,
        };
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// A pattern for enhanced codes: `5.1.1`, `*.1.1`, `5.7.*`, `5.7.500-699`.
#[derive(Debug, Clone)]
pub(crate) struct EnhancedPattern([RangeInclusive<u16>; 3]);

impl EnhancedPattern {
    pub(crate) fn fits(&self, code: posthaste_mail::EnhancedCode) -> bool {
        let [class, subject, detail] = &self.0;
        subject.contains(&code.subject) && detail.contains(&code.detail) && class.contains(&u16::from(code.class))
    }

    /// The range from the lowest to the highest last number that any of these patterns matches; all numbers if there are no patterns.
    pub(crate) fn details(patterns: &[Self]) -> RangeInclusive<u16> {
        let least = patterns.iter().map(|p| *p.0[2].start()).min().unwrap_or(0);
        least..=patterns.iter().map(|p| *p.0[2].end()).max().unwrap_or(u16::MAX)
    }

    pub(crate) fn may_fit_subject(&self, subject: u16) -> bool {
        self.0[1].contains(&subject)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split('.').map(number_range).collect::<Option<_>>().unwrap_or_default();
        let parts: [_; 3] = parts
            .try_into()
            .map_err(|_| format!("{text:?} is not an enhanced code: write \"5.1.1\", \"*.1.1\", \"5.7.*\" or \"5.7.500-699\""))?;
        Ok(Self(parts))
    }
}

fn number_range(part: &str) -> Option<RangeInclusive<u16>> {
    if part == "*" {
        return Some(0..=u16::MAX);
    }
    let (from, to) = part.split_once('-').unwrap_or((part, part));
    Some(from.parse().ok()?..=to.parse().ok()?)
}

impl<'de> Deserialize<'de> for EnhancedPattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(D::Error::custom)
    }
}

fn confidence<'de, D: Deserializer<'de>>(d: D) -> Result<f32, D::Error> {
    let value = f32::deserialize(d)?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(D::Error::custom("confidence is a number between 0.0 and 1.0")) }
}

fn filled<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    let value = String::deserialize(d)?;
    if value.trim().is_empty() {
        Err(D::Error::custom("say where the rule comes from: an RFC, a page, a source file, a log line"))
    } else {
        Ok(value)
    }
}

fn filled_list<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let value = Vec::<String>::deserialize(d)?;
    if value.is_empty() { Err(D::Error::custom("a rule needs at least one example: a reply that it decides")) } else { Ok(value) }
}
