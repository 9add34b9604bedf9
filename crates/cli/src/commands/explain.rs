//! `posthaste explain`

use std::{
    io::{BufRead, Write, stdin},
    process::ExitCode,
};

use clap::Args;
use posthaste_bounce::Quoted;
use posthaste_delivery::logins;
use posthaste_mail::{Failure, Foreign, Reply, Stage};
use posthaste_relay::{settings::rules, why::advice};

use super::{At, log::must_be_provider};
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
        let config = self.at.look()?;
        let (rules, provider) = (rules(&config)?, self.provider.as_deref());
        provider.map_or(Ok(()), |provider| must_be_provider(provider, &config))?;
        let mut out = std::io::BufWriter::new(screen::out());
        match &self.reply {
            Some(reply) if reply.trim().is_empty() => anyhow::bail!("the reply is empty: give one, such as \"550 5.1.1 no such user\""),
            Some(reply) if self.json => writeln!(out, "{}", serde_json::to_string(&rules.classify_text(reply, provider))?)?,
            Some(reply) if is_no_refusal(reply) => writeln!(out, "{}: this is no refusal", Foreign::new(reply.trim()))?,
            Some(reply) => {
                let v = rules.classify_text(reply, provider);
                writeln!(out, "class       {}\nscope       {}\naction      {}: {}", v.class, v.scope, v.action, advice(&v))?;
                let retried = if v.permanent { "no" } else { "yes" };
                // What refuses a login stops no mail where the login is the relay's own.
                match is_about_login(reply) {
                    true => writeln!(
                        out,
                        "retried     yes, if a smart host of a [route] says it: its mail waits, and an alarm stands; else {retried}"
                    )?,
                    false => writeln!(out, "retried     {retried}")?,
                }
                writeln!(out, "why         {}\nrule        {} (confidence {:.2})", v.why, v.rule, v.confidence)?;
                if let Some(link) = &v.link {
                    writeln!(out, "see         {link}")?;
                }
            }
            None if self.json => {
                for line in stdin().lock().lines() {
                    let verdict = rules.classify_text(&unescape(&line?), provider);
                    writeln!(out, "{}", serde_json::to_string(&verdict)?)?;
                }
            }
            None => anyhow::bail!("give a reply, or use --json with replies on standard input"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether a reply takes what was sent (RFC 5321 §4.2.1).
fn is_no_refusal(reply: &str) -> bool {
    let code = reply.trim().get(..3).and_then(|code| code.parse::<u16>().ok());
    code.is_some_and(|code| (200..400).contains(&code))
}

/// Whether a smart host refuses the relay's login so.
fn is_about_login(reply: &str) -> bool {
    let said = Reply::new(Quoted::read(reply).code, reply.trim().get(3..).unwrap_or_default().trim_start());
    logins::is_refused(&Failure::Refused { stage: Stage::Mail, reply: said })
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
