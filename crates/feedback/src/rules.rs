//! The compiled rules: the operator's own files first, then the shipped rules. The texts of all rules form one automaton, which is run at
//! most once over a reply, and only if a rule whose other conditions hold needs it.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    ops::Range,
    sync::Arc,
};

use jiff::SignedDuration;
use posthaste_bounce::{Context, Rules, Verdict};
use posthaste_governor::{Cut, Share};
use posthaste_mail::{Failure, Reply, Stage};
use posthaste_route::Providers;
use regex::{RegexSet, RegexSetBuilder, SetMatches};

use crate::file::{FeedbackFileError, Given, Rate, RuleFile};

/// The shipped rules.
const SHIPPED: &str = include_str!("../../../config/feedback.toml");
/// The name of the embedded file in errors and in `why`.
const SHIPPED_NAME: &str = "config/feedback.toml";
/// The most memory that the texts of all rules may take as one automaton.
const TEXTS_MAX: usize = 64 << 20;

/// The compiled rules.
#[derive(Debug)]
pub struct Feedback {
    rules: Vec<Rule>,
    /// The rules that apply to each provider's failures, in their order, with those for all providers among them.
    by_provider: HashMap<Box<str>, Vec<u32>>,
    /// The rules that apply to providers without rules of their own.
    general: Vec<u32>,
    texts: RegexSet,
    providers: Arc<Providers>,
}

/// How the lane reacts to a failure, beside the fate of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// How far the lane is slowed, and how it climbs again. [`Self::at`] adds a rate that is given as a share.
    pub cut: Cut,
    /// The share of the lane's current rate that is left.
    pub share: Option<Share>,
    /// How long the source sends nothing to this provider, while its pool's other sources go on.
    pub stop: Option<SignedDuration>,
    /// The receiver's advice, with the link to its page.
    pub reason: Arc<str>,
    /// The rule's id.
    pub rule: Arc<str>,
    /// The rule's file and line.
    pub origin: Arc<str>,
}

#[derive(Debug)]
struct Rule {
    id: Arc<str>,
    why: Arc<str>,
    origin: Arc<str>,
    given: Given,
    /// The range of its texts among those of all rules.
    texts: Range<usize>,
    own: bool,
}

/// An example of a rule that the rule does not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExampleFailure {
    /// The rule.
    pub rule: String,
    /// Its file and line.
    pub origin: String,
    /// Its example.
    pub example: String,
    /// The rule that decided instead; None: none did.
    pub decided_by: Option<String>,
}

impl Feedback {
    /// Compiles an operator's files (name, TOML), the first with the highest rank, and the shipped rules behind them. An operator's rule
    /// with the id of a shipped one replaces it.
    pub fn with(own: &[(&str, &str)], providers: Arc<Providers>) -> Result<Self, FeedbackFileError> {
        let (mut rules, mut texts): (Vec<Rule>, Vec<String>) = (Vec::new(), Vec::new());
        let mut replaced = HashSet::new();
        for (file, text, is_own) in own.iter().map(|(file, text)| (*file, *text, true)).chain([(SHIPPED_NAME, SHIPPED, false)]) {
            let mut seen = HashSet::new();
            for (line, given) in RuleFile::read(file, text, &providers)? {
                if !seen.insert(given.id.clone()) {
                    return Err(FeedbackFileError::new(file, line, format!("there are two rules with the id {:?}", given.id)));
                }
                if !is_own && replaced.contains(&given.id) {
                    continue;
                }
                let first = texts.len();
                texts.extend(given.text.iter().cloned());
                rules.push(Rule {
                    id: given.id.as_str().into(),
                    why: given.why().into(),
                    origin: format!("{file}:{line}").into(),
                    texts: first..texts.len(),
                    own: is_own,
                    given,
                });
            }
            replaced.extend(seen);
        }
        let texts = RegexSetBuilder::new(&texts).case_insensitive(true).size_limit(TEXTS_MAX).build();
        let texts = texts.map_err(|error| FeedbackFileError::new(own.first().map_or(SHIPPED_NAME, |f| f.0), 1, error.to_string()))?;
        let (by_provider, general) = sorted(&rules);
        Ok(Self { rules, by_provider, general, texts, providers })
    }

    /// The same providers without any rule, so that lanes react to nothing.
    pub fn without_rules(&self) -> Self {
        let (rules, by_provider, general, texts) = (Vec::new(), HashMap::new(), Vec::new(), RegexSet::empty());
        Self { rules, by_provider, general, texts, providers: self.providers.clone() }
    }

    /// The reaction to a failure at a provider; None: nothing but another attempt.
    pub fn reaction(&self, provider: &str, failure: &Failure, verdict: &Verdict) -> Option<Reaction> {
        let rule = self.rule(provider, failure, verdict)?;
        let given = &rule.given;
        if !given.has_effect() {
            return None;
        }
        let of_provider = self.providers.get(provider).and_then(|p| p.limits.first_pause).filter(|_| given.first_pause);
        let pause = of_provider.and_then(|pause| SignedDuration::try_from(pause).ok()).or(given.pause);
        let (rate, share) = match given.rate {
            Some(Rate::Hourly(rate)) => (Some(rate), None),
            Some(Rate::Share(share)) => (None, Some(share)),
            None => (None, None),
        };
        Some(Reaction {
            cut: Cut { rate, connections: given.connections, pause, climb: given.climb, why: rule.why.clone() },
            share,
            stop: given.stop,
            reason: rule.why.clone(),
            rule: rule.id.clone(),
            origin: rule.origin.clone(),
        })
    }

    /// Checks that every rule decides its own examples. An operator's rule may decide those of a shipped rule.
    pub fn check_examples(&self, bounces: &Rules) -> Vec<ExampleFailure> {
        let mut failures = Vec::new();
        for rule in &self.rules {
            let provider = rule.given.provider.first().map_or("example.net", String::as_str);
            for example in &rule.given.example {
                let failure = Failure::Refused { stage: Stage::Dot, reply: example.reply.clone() };
                let verdict = bounces.classify(&failure, &Context { provider: Some(alias(provider)), mx_host: None });
                let decided = self.rule(provider, &failure, &verdict);
                if !decided.is_some_and(|other| other.id == rule.id || (other.own && !rule.own)) {
                    failures.push(ExampleFailure {
                        rule: rule.id.to_string(),
                        origin: rule.origin.to_string(),
                        example: example.text.clone(),
                        decided_by: decided.map(|other| other.id.to_string()),
                    });
                }
            }
        }
        failures
    }

    fn rule(&self, provider: &str, failure: &Failure, verdict: &Verdict) -> Option<&Rule> {
        let asked = self.by_provider.get(provider).unwrap_or(&self.general);
        let reply = failure.reply();
        let mut texts: Option<SetMatches> = None;
        asked.iter().map(|index| &self.rules[*index as usize]).find(|rule| {
            if !rule.given.fits(reply, verdict) {
                return false;
            }
            let Some(reply) = reply else { return rule.texts.is_empty() };
            rule.texts.is_empty() || {
                let texts = texts.get_or_insert_with(|| self.texts.matches(&one_line(reply)));
                rule.texts.clone().any(|text| texts.matched(text))
            }
        })
    }
}

impl Reaction {
    /// The cut for a lane that sends `hourly` recipients an hour.
    pub fn at(&self, hourly: Option<NonZeroU32>) -> Cut {
        let shared = self.share.zip(hourly).and_then(|(share, hourly)| NonZeroU32::new(share.up(hourly.get())));
        Cut { rate: self.cut.rate.or(shared), ..self.cut.clone() }
    }
}

/// The rules that apply to each provider that is named in one, and those that apply to all other providers.
fn sorted(rules: &[Rule]) -> (HashMap<Box<str>, Vec<u32>>, Vec<u32>) {
    let numbered = || (0u32..).zip(rules);
    let names: HashSet<&str> = rules.iter().flat_map(|rule| rule.given.provider.iter().map(String::as_str)).collect();
    let asked = |name: &str| numbered().filter(|(_, rule)| rule.given.is_for(name)).map(|(index, _)| index).collect();
    let general = numbered().filter(|(_, rule)| rule.given.provider.is_empty()).map(|(index, _)| index).collect();
    (names.into_iter().map(|name| (name.into(), asked(name))).collect(), general)
}

/// A reply's lines as one, the enhanced code only before the first (RFC 2034 §4 has it before each).
fn one_line(reply: &Reply) -> String {
    let code = reply.enhanced.map(|code| code.to_string()).unwrap_or_default();
    let mut joined = String::with_capacity(reply.text.len());
    for (number, line) in reply.text.lines().enumerate() {
        let line = if number == 0 { line } else { line.trim_start().strip_prefix(&*code).unwrap_or(line).trim_start() };
        if number > 0 {
            joined.push(' ');
        }
        joined.push_str(line.trim_end());
    }
    joined
}

/// The name in the bounce rules of a provider whose parts have names of their own here: the bounce rules tell them apart by the host.
fn alias(provider: &str) -> &str {
    match provider {
        "microsoft365" => "microsoft",
        "ionos" => "gmx",
        other => other,
    }
}
