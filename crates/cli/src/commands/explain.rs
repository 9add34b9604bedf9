//! `posthaste explain`

use std::{
    io::{BufRead, Write, stdin},
    process::ExitCode,
};

use clap::Args;
use posthaste_relay::{settings::Settings, why::advice};

use super::At;
use crate::screen;

/// Explain what a receiver's reply means, whose problem it is, and what to do.
#[derive(Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    at: At,
    /// The reply, such as "550 5.1.1 no such user". Without it, --json reads replies from standard input, one per line (line breaks in a reply as \n).
    reply: Option<String>,
    /// The provider that sent it, if known: google, microsoft, yahoo, ...
    #[arg(long)]
    provider: Option<String>,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

impl Explain {
    /// Explains one reply, or all replies on standard input.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let settings = Settings::new(self.at.load()?)?;
        let provider = self.provider.as_deref();
        let mut out = std::io::BufWriter::new(screen::out());
        match &self.reply {
            Some(reply) if self.json => writeln!(out, "{}", serde_json::to_string(&settings.rules.classify_text(reply, provider))?)?,
            Some(reply) => {
                let v = settings.rules.classify_text(reply, provider);
                writeln!(out, "class       {}\nscope       {}\naction      {}: {}", v.class, v.scope, v.action, advice(v.action))?;
                writeln!(out, "retried     {}", if v.permanent { "no" } else { "yes" })?;
                writeln!(out, "why         {}\nrule        {} (confidence {:.2})", v.why, v.rule, v.confidence)?;
                if let Some(link) = &v.link {
                    writeln!(out, "see         {link}")?;
                }
            }
            None if self.json => {
                for line in stdin().lock().lines() {
                    let verdict = settings.rules.classify_text(&unescape(&line?), provider);
                    writeln!(out, "{}", serde_json::to_string(&verdict)?)?;
                }
            }
            None => anyhow::bail!("give a reply, or use --json with replies on standard input"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Turns `\n` into a line break and `\\` into a backslash.
fn unescape(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    out
}
