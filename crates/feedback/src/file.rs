//! The format of a file of feedback rules, and errors that name the line.

use std::num::NonZeroU32;

use jiff::SignedDuration;
use posthaste_bounce::Verdict;
use posthaste_governor::{Climb, Share};
use posthaste_mail::{Action, Class, Reply, Scope};
use posthaste_route::Providers;
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

use crate::pattern::{CodePattern, EnhancedPattern};

/// The climb of a rule that gives none: one more connection and a hundred recipients an hour more every ten minutes.
pub(super) const CLIMB: Climb =
    Climb { every: SignedDuration::from_mins(10), rate: NonZeroU32::new(100).expect("100 is not 0"), connections: NonZeroU32::MIN };

/// The first error that was found in a file of feedback rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct FeedbackFileError {
    /// The file's name, as the caller gave it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    #[serde(default, rename = "rule")]
    rules: Vec<Spanned<Given>>,
}

/// One rule as it is written. The conditions of all keys must hold; of the values of one key, any one suffices.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    pub(super) id: String,
    #[serde(default)]
    pub(super) provider: Vec<String>,
    #[serde(default)]
    code: Vec<CodePattern>,
    #[serde(default)]
    enhanced: Vec<EnhancedPattern>,
    #[serde(default)]
    class: Vec<Class>,
    #[serde(default)]
    scope: Vec<Scope>,
    #[serde(default)]
    action: Vec<Action>,
    #[serde(default)]
    pub(super) text: Vec<String>,
    pub(super) rate: Option<Rate>,
    pub(super) connections: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "time")]
    pub(super) pause: Option<SignedDuration>,
    #[serde(default)]
    pub(super) first_pause: bool,
    #[serde(default, deserialize_with = "time")]
    pub(super) stop: Option<SignedDuration>,
    #[serde(default = "usual_climb", deserialize_with = "climb")]
    pub(super) climb: Climb,
    reason: String,
    link: Option<String>,
    #[serde(deserialize_with = "examples")]
    pub(super) example: Vec<Example>,
}

/// Recipients an hour, or a share of what the lane does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    Hourly(NonZeroU32),
    Share(Share),
}

/// A reply that a rule decides.
#[derive(Debug)]
pub(super) struct Example {
    pub(super) text: String,
    pub(super) reply: Reply,
}

/// The longest time that a rule may ask for.
const TIME_MAX: SignedDuration = SignedDuration::from_hours(30 * 24);

impl RuleFile {
    /// The rules of a file with the lines on which they begin.
    pub(super) fn read(file: &str, text: &str, providers: &Providers) -> Result<Vec<(usize, Given)>, FeedbackFileError> {
        let line = |at: usize| text.get(..at).unwrap_or(text).matches('\n').count() + 1;
        let read: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            FeedbackFileError::new(file, line(at), error.message())
        })?;
        let mut rules = Vec::new();
        for rule in read.rules {
            let line = line(rule.span().start);
            let rule = rule.into_inner();
            rule.check(providers).map_err(|message| FeedbackFileError::new(file, line, format!("rule {:?}: {message}", rule.id)))?;
            rules.push((line, rule));
        }
        Ok(rules)
    }
}

impl FeedbackFileError {
    pub(super) fn new(file: &str, line: usize, message: impl AsRef<str>) -> Self {
        Self { file: file.to_owned(), line, message: message.as_ref().trim().replace('\n', "; ") }
    }
}

impl Given {
    fn check(&self, providers: &Providers) -> Result<(), String> {
        if self.id.trim().is_empty() || self.reason.trim().is_empty() {
            return Err("a rule needs an id, and a reason: what the receiver's page says to do".into());
        }
        // A name with a dot may be a registrable domain, of which there is no list.
        if let Some(stranger) = self.provider.iter().find(|name| !name.contains('.') && providers.get(name).is_none()) {
            return Err(format!("no provider is called {stranger:?}; config/providers.toml and delivery.providers name them"));
        }
        if self.code.is_empty() && self.enhanced.is_empty() && self.class.is_empty() && self.text.is_empty() && self.action.is_empty() {
            return Err("a rule needs a condition: code, enhanced, class, action or text".into());
        }
        for text in &self.text {
            regex::Regex::new(text).map_err(|error| format!("text {text:?}: {error}"))?;
        }
        if self.first_pause && self.pause.is_none() {
            return Err("first_pause needs a pause for providers that have none of their own".into());
        }
        Ok(())
    }

    /// Whether the rule has an effect. A rule without one keeps later rules from having one.
    pub(super) fn has_effect(&self) -> bool {
        self.rate.is_some() || self.connections.is_some() || self.pause.is_some() || self.stop.is_some()
    }

    pub(super) fn is_for(&self, provider: &str) -> bool {
        self.provider.is_empty() || self.provider.iter().any(|name| name == provider)
    }

    /// Whether all conditions hold but those on text and provider. A failure without a reply fits no code.
    pub(super) fn fits(&self, reply: Option<&Reply>, verdict: &Verdict) -> bool {
        let coded = self.code.is_empty() || reply.is_some_and(|reply| self.code.iter().any(|code| code.fits(reply.code)));
        let enhanced = || {
            let code = reply.and_then(|reply| reply.enhanced);
            self.enhanced.is_empty() || code.is_some_and(|code| self.enhanced.iter().any(|pattern| pattern.fits(code)))
        };
        coded
            && enhanced()
            && (self.class.is_empty() || self.class.contains(&verdict.class))
            && (self.scope.is_empty() || self.scope.contains(&verdict.scope))
            && (self.action.is_empty() || self.action.contains(&verdict.action))
    }

    /// The reason, with the link to its page.
    pub(super) fn why(&self) -> String {
        self.link.as_ref().map_or_else(|| self.reason.clone(), |link| format!("{} ({link})", self.reason))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(d)?;
        let hourly = value.as_integer().and_then(|n| u32::try_from(n).ok()).and_then(NonZeroU32::new).map(Self::Hourly);
        let share = || {
            let percent: f64 = value.as_str()?.strip_suffix('%')?.trim().parse().ok()?;
            Share::new(percent / 100.0).ok().filter(|share| *share > Share::NONE && *share < Share::ALL).map(Self::Share)
        };
        let form = "a rate is a number of recipients an hour, or a share of what goes out now such as \"25 %\"";
        hourly.or_else(share).ok_or_else(|| D::Error::custom(form))
    }
}

fn time<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SignedDuration>, D::Error> {
    length(&String::deserialize(d)?).map(Some).map_err(D::Error::custom)
}

fn length(text: &str) -> Result<SignedDuration, String> {
    let time = text.parse::<SignedDuration>().ok().filter(|time| (SignedDuration::from_secs(1)..=TIME_MAX).contains(time));
    time.ok_or_else(|| format!("{text:?} is no time from \"1s\" to \"720h\", such as \"10m\" or \"4h\""))
}

/// A climb; a key that is left out has the usual value.
fn climb<'de, D: Deserializer<'de>>(d: D) -> Result<Climb, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Steps {
        every: Option<String>,
        rate: Option<NonZeroU32>,
        connections: Option<NonZeroU32>,
    }
    let Steps { every, rate, connections } = Steps::deserialize(d)?;
    let every = every.as_deref().map(length).transpose().map_err(D::Error::custom)?;
    Ok(Climb {
        every: every.unwrap_or(CLIMB.every),
        rate: rate.unwrap_or(CLIMB.rate),
        connections: connections.unwrap_or(CLIMB.connections),
    })
}

fn usual_climb() -> Climb {
    CLIMB
}

fn examples<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Example>, D::Error> {
    let texts = Vec::<String>::deserialize(d)?;
    if texts.is_empty() {
        return Err(D::Error::custom("a rule shows at least one reply that it decides"));
    }
    let read = |text: String| {
        let (code, rest) = text.split_at_checked(3)?;
        let code = code.parse().ok().filter(|code| (400..600).contains(code))?;
        let reply = Reply::new(code, rest.strip_prefix([' ', '-'])?);
        Some(Example { reply, text })
    };
    let form = "an example is a reply with its code: \"421 4.7.28 slow down\"";
    texts.into_iter().map(|text| read(text).ok_or_else(|| D::Error::custom(form))).collect()
}
