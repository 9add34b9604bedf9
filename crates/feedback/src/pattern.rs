//! The patterns of reply codes in a rule.

use std::ops::RangeInclusive;

use posthaste_mail::EnhancedCode;
use serde::{Deserialize, Deserializer, de::Error as _};

/// A basic code, `421`, or a whole class, `"4xx"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CodePattern(RangeInclusive<u16>);

/// An enhanced code, `"4.7.28"`, a prefix, `"4.7."`, or a range of the last number, `"4.7.500-599"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EnhancedPattern {
    class: u8,
    /// None: any.
    subject: Option<u16>,
    detail: RangeInclusive<u16>,
}

impl CodePattern {
    pub(super) fn fits(&self, code: u16) -> bool {
        self.0.contains(&code)
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(first) = text.strip_suffix("xx") {
            let first: u16 = first.parse().ok().filter(|first| (4..=5).contains(first))?;
            return Some(Self(first * 100..=first * 100 + 99));
        }
        let code = text.parse().ok().filter(|code| (400..600).contains(code))?;
        Some(Self(code..=code))
    }
}

impl EnhancedPattern {
    pub(super) fn fits(&self, code: EnhancedCode) -> bool {
        code.class == self.class && self.subject.is_none_or(|subject| subject == code.subject) && self.detail.contains(&code.detail)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let class = parts.next()?.parse().ok().filter(|class| matches!(class, 4 | 5))?;
        let any = 0..=u16::MAX;
        match (parts.next()?, parts.next(), parts.next()) {
            ("", None, _) => Some(Self { class, subject: None, detail: any }),
            (subject, Some(""), None) => Some(Self { class, subject: Some(subject.parse().ok()?), detail: any }),
            (subject, Some(detail), None) => {
                let (from, to) = detail.split_once('-').unwrap_or((detail, detail));
                let detail = from.parse().ok()?..=to.parse().ok()?;
                Some(Self { class, subject: Some(subject.parse().ok()?), detail }).filter(|pattern| !pattern.detail.is_empty())
            }
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for CodePattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(d)?;
        let text = value.as_integer().map(|n| n.to_string()).or_else(|| value.as_str().map(str::to_owned));
        text.and_then(|text| Self::parse(&text)).ok_or_else(|| D::Error::custom("a code is one such as 421, or a kind, \"4xx\" or \"5xx\""))
    }
}

impl<'de> Deserialize<'de> for EnhancedPattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let form = "is no enhanced code: write \"4.7.28\", \"4.7.\" for all that begin so, or \"4.7.500-599\"";
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} {form}")))
    }
}
