//! Each rule fires with the right cause and next step, and stays silent just below its limits.

mod life;
mod of_facts;
mod of_tallies;
mod put_off;

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use posthaste_tallies::{Delta, Limits, Seen, Tallies};

use crate::{Facts, Finding, Rule, RuleSettings, Rules, StreamFact, View};

/// 2026-11-25T12:34:20Z, a Wednesday, in the midst of an hour and of a minute.
fn now() -> Timestamp {
    "2026-11-25T12:34:20Z".parse().unwrap()
}

fn ago(time: SignedDuration) -> Timestamp {
    now().checked_sub(time).unwrap()
}

fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

/// A relay at one moment: what its log comes to, and what it knows besides.
struct World {
    dir: tempfile::TempDir,
    delta: Delta,
    facts: Facts,
    settings: RuleSettings,
}

impl World {
    fn new() -> Self {
        let aim = std::time::Duration::from_hours(4);
        let stream = |name: &str| StreamFact { name: name.into(), aim, aim_configured: false };
        let facts = Facts { streams: vec![stream("news"), stream("receipts")], ..Facts::default() };
        Self { dir: tempfile::tempdir().unwrap(), delta: Delta::new(TimeZone::UTC), facts, settings: RuleSettings::default() }
    }

    /// So many lines of an event, of stream `news` and user `shop`, unless the fields say otherwise.
    fn lines(&mut self, time: Timestamp, n: u64, event: &str, fields: &str) -> &mut Self {
        let mut line = format!(r#"{{"time":"{time:.3}","event":"{event}","size":1000,"attempt":1"#);
        for (name, value) in [("domain", "y.org"), ("stream", "news"), ("user", "shop"), ("provider", "google"), ("source", "ip1")] {
            if !fields.contains(&format!("\"{name}\"")) && event != "unmatched" {
                let _ = write!(line, r#","{name}":"{value}""#);
            }
        }
        let _ = write!(line, "{}{fields}}}", if fields.is_empty() { "" } else { "," });
        let seen = Seen::parse(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
        (0..n).for_each(|_| self.delta.take(&seen));
        self
    }

    fn tallies(&self) -> Tallies {
        let mut tallies = Tallies::open(&self.dir.path().join("tallies.db"), TimeZone::UTC, Limits::default()).unwrap();
        tallies.add(&self.delta.clone(), None).unwrap();
        tallies
    }

    /// What new rules find now.
    fn found(&self) -> Vec<Finding> {
        self.found_by(&mut Rules::default(), &self.tallies(), now())
    }

    fn found_by(&self, rules: &mut Rules, tallies: &Tallies, now: Timestamp) -> Vec<Finding> {
        let found = rules.judge(View { tallies: Some(tallies), counted: now, facts: &self.facts }, &self.settings, now).unwrap();
        for finding in &found {
            assert!(finding.next_step.contains('`'), "no command: {finding:?}");
            assert!(
                finding.summary.ends_with(['.', '…']) && finding.done.ends_with('.') && finding.next_step.ends_with('.'),
                "{finding:?}"
            );
            assert!(finding.query.starts_with("posthaste "), "{finding:?}");
        }
        found
    }

    /// The findings of one rule, as `key n/of severity`.
    fn of(&self, rule: Rule) -> Vec<String> {
        shown(&self.found(), rule)
    }
}

fn shown(found: &[Finding], rule: Rule) -> Vec<String> {
    let of = |finding: &Finding| finding.measure.of.map(|of| format!("/{of}")).unwrap_or_default();
    let own = found.iter().filter(|finding| finding.rule == rule);
    own.map(|finding| format!("{} {}{} {}", finding.key, finding.measure.n, of(finding), finding.severity)).collect()
}
