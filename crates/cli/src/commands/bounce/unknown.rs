//! `posthaste bounce unknown`

use std::{
    collections::HashMap,
    io::{BufWriter, Write},
    process::ExitCode,
};

use clap::Args;
use jiff::Timestamp;
use posthaste_bounce::{Context, Quoted, Rules, Verdict};
use posthaste_mail::{Class, EnhancedCode};
use posthaste_monitor::LogRecord;
use posthaste_relay::settings::rules;

use super::shape::{pattern, shape};
use crate::{
    commands::{At, lines::LogReader},
    screen,
};

/// What is shown, and in which format.
#[derive(Args)]
pub(super) struct Unknown {
    /// Show at most this many groups.
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: usize,
    /// Show replies that are classified with less confidence than this, from 0 to 1.
    #[arg(long, default_value_t = 0.5)]
    below: f32,
    /// Print one JSON object per line instead of rules.
    #[arg(long)]
    json: bool,
}

impl Unknown {
    pub(super) fn run(self, at: &At) -> anyhow::Result<ExitCode> {
        let config = at.look_as_owner()?;
        at.must_have_log(&config)?;
        let rules = rules(&config)?;
        let mut shapes = Shapes::default();
        let mut log = LogReader::new(&config.log.dir, &config.admin.socket);
        log.each(|record| shapes.take(record, &rules, self.below))?;
        let mut out = BufWriter::new(screen::out());
        let (found, left) = shapes.sorted(self.limit);
        if found.is_empty() && !self.json {
            writeln!(out, "the rules know every reply in the log")?;
        }
        for (n, shape) in found.iter().enumerate() {
            let text = if self.json { serde_json::to_string(shape)? } else { skeleton(shape, n + 1) };
            writeln!(out, "{text}")?;
        }
        out.flush()?;
        if left > 0 {
            screen::say(format_args!("{left} replies in smaller groups are not shown; see --limit"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The replies of one shape.
#[derive(Debug, serde::Serialize)]
struct Shape {
    /// Their number.
    replies: u64,
    /// The text with placeholders.
    shape: String,
    code: u16,
    stage: Option<String>,
    /// How the rules in force classify it.
    class: Class,
    rule: String,
    confidence: f32,
    /// Some of the providers that sent them.
    providers: Vec<String>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

/// Groups of replies by code and shape.
#[derive(Default)]
struct Shapes {
    shapes: HashMap<(u16, String), Shape>,
    /// Replies that were not grouped because there were too many shapes.
    left_out: u64,
}

/// Further shapes are only counted: in a log with so many, the first thousand matter.
const SHAPES_MAX: usize = 20_000;
const PROVIDERS_MAX: usize = 5;

impl Shapes {
    /// Counts a reply if the rules in force are uncertain about it. The rules at the time of logging do not matter.
    fn take(&mut self, record: &LogRecord<'_>, rules: &Rules, below: f32) {
        let failed = matches!(&*record.event, "deferred" | "bounced" | "expired" | "late_bounced");
        let (Some(text), true) = (record.smtp_text.as_deref(), failed) else { return };
        let code = record.smtp_code.unwrap_or(0);
        let verdict = verdict(record, code, text, rules);
        if verdict.confidence >= below {
            return;
        }
        let key = (code, shape(text));
        if self.shapes.len() >= SHAPES_MAX && !self.shapes.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        let time = record.time();
        let shape = self.shapes.entry(key).or_insert_with_key(|(code, shape)| Shape {
            replies: 0,
            shape: shape.clone(),
            code: *code,
            stage: record.smtp_stage.as_deref().map(str::to_owned),
            class: verdict.class,
            rule: verdict.rule.to_string(),
            confidence: verdict.confidence,
            providers: Vec::new(),
            first: time,
            last: time,
        });
        shape.replies += 1;
        shape.last = shape.last.max(time);
        if let Some(provider) =
            record.provider.as_deref().filter(|p| shape.providers.len() < PROVIDERS_MAX && !shape.providers.iter().any(|q| q == p))
        {
            shape.providers.push(provider.to_owned());
        }
    }

    /// The most frequent shapes, and the number of replies in the others.
    fn sorted(self, limit: usize) -> (Vec<Shape>, u64) {
        let mut shapes: Vec<_> = self.shapes.into_values().collect();
        shapes.sort_by(|a, b| b.replies.cmp(&a.replies).then_with(|| a.shape.cmp(&b.shape)));
        let rest = shapes.split_off(limit.min(shapes.len()));
        (shapes, self.left_out + rest.iter().map(|s| s.replies).sum::<u64>())
    }
}

fn verdict(record: &LogRecord<'_>, code: u16, text: &str, rules: &Rules) -> Verdict {
    let enhanced: Option<EnhancedCode> = record.smtp_enhanced.as_deref().and_then(|e| e.parse().ok());
    let stage = record.smtp_stage.as_deref().and_then(|s| s.parse().ok());
    let quoted = Quoted { code, enhanced, stage, text: text.to_owned() };
    rules.classify_quoted(&quoted, &Context { provider: record.provider.as_deref(), mx_host: record.mx_host.as_deref() })
}

/// A draft of a rule, to be put into a file named in `[bounce] rules` once its class has been checked.
fn skeleton(shape: &Shape, n: usize) -> String {
    let quote = |text: &str| toml::Value::from(text).to_string();
    let reply = match shape.code {
        0 => shape.shape.clone(),
        code => format!("{code} {}", shape.shape),
    };
    let day = |t: Option<Timestamp>| t.map_or_else(|| "?".to_owned(), |t| t.to_string().chars().take(10).collect());
    let (first, last) = (day(shape.first), day(shape.last));
    let from = if shape.providers.is_empty() { String::new() } else { format!(" from {}", shape.providers.join(", ")) };
    let mut rule = format!(
        "# {} replies{from}, {first} to {last}; currently {} by {} ({:.2})\n[[rule]]\n",
        shape.replies, shape.class, shape.rule, shape.confidence
    );
    let pattern = pattern(&shape.shape);
    let words: Vec<_> = pattern.iter().flat_map(|p| p.split(' ')).take(4).collect();
    rule += &format!("id = {}\n", quote(&format!("own.{}-{n}", words.join("-"))));
    match pattern {
        Some(pattern) => rule += &format!("text = [{}]\n", quote(&pattern)),
        None => rule += "# The reply has no words to match: only the code decides.\n",
    }
    if shape.code > 0 {
        rule += &format!("code = [{}]\n", shape.code);
    }
    rule += &format!("class = \"{}\"\nconfidence = 0.8\nexample = [{}]\n", shape.class, quote(&reply));
    rule + &format!("source = {}\n", quote(&format!("{} replies in the delivery log, {first} to {last}", shape.replies)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &str, code: u16, text: &str) -> String {
        serde_json::json!({
            "time": "2026-11-23T10:00:00.000Z", "event": event, "provider": "example", "smtp_code": code, "smtp_text": text, "smtp_stage": "dot",
            "rule": "code.5xx",
        })
        .to_string()
    }

    fn shapes(lines: &[String], below: f32) -> (Vec<Shape>, u64) {
        let mut shapes = Shapes::default();
        lines.iter().for_each(|l| shapes.take(&LogRecord::parse(l.as_bytes()).unwrap(), Rules::shipped(), below));
        shapes.sorted(10)
    }

    #[test]
    fn what_is_guessed_at_is_grouped_and_the_most_frequent_comes_first() {
        let lines = [
            line("bounced", 559, "Zyxwv plugh for <a@x.org>"),
            line("bounced", 559, "The wombat declines ticket 17 of a@x.org today"),
            line("deferred", 559, "The wombat declines ticket 4711 of b@y.org today"),
            line("delivered", 250, "The wombat declines nothing"),
            line("bounced", 550, "5.1.1 user unknown"),
        ];
        let (found, left) = shapes(&lines, 0.5);
        assert_eq!(
            found.iter().map(|s| (s.replies, s.shape.as_str())).collect::<Vec<_>>(),
            [(2, "The wombat declines ticket 0 of someone@example.org today"), (1, "Zyxwv plugh for <someone@example.org>"),]
        );
        assert_eq!(left, 0);
    }

    #[test]
    fn a_skeleton_is_a_rule_that_decides_its_own_example() {
        let texts = [
            "The wombat declines ticket 17 of a@x.org today",
            "\"Quoted\" \\ words: isn't it odd? (4.5)",
            "5.7.999 абонент временно недоступен зюзя",
        ];
        for text in texts {
            let (found, _) = shapes(&[line("bounced", 559, text)], 1.1);
            let rule = skeleton(&found[0], 1);
            let rules = Rules::with(&[("own.toml", &rule)]).unwrap_or_else(|e| panic!("{e}\n{rule}"));
            assert!(rules.classify_text(&format!("559 {text}"), None).rule.starts_with("own."), "{rule}");
            assert_eq!(rules.check_examples().iter().filter(|f| f.rule.starts_with("own.")).count(), 0, "{rule}");
        }
    }
}
