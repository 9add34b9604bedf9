//! `posthaste guard`

use std::{fmt::Write as _, io::Write, process::ExitCode};

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use posthaste_guard::{Done, EndRequest, How, Shown};
use posthaste_host::{clock, span};
use posthaste_mail::Foreign;
use posthaste_queue::MailOf;
use posthaste_relay::admin::Request;

use super::{At, count, operator};
use crate::screen;

/// Show, release and drop the mail that the guard holds: new mail of users and streams that behave like stolen accounts (see the section guard of
/// the configuration). Without a command: whose mail is held, why, and how much.
#[derive(Args)]
pub(crate) struct Guard {
    #[command(flatten)]
    at: At,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// List whose new mail is held, and who is left alone after a release or a drop.
    List,
    /// Send what is held of a user or a stream, and hold its new mail no longer. The figures that made the guard hold are left alone until they are gone,
    /// for guard.grace at most.
    Release {
        /// Whose: user:NAME or stream:NAME.
        of: MailOf,
        /// Leave it alone for this long, whatever its figures.
        #[arg(long = "for", value_name = "SPAN", value_parser = super::incidents::duration, conflicts_with = "keep_holding")]
        lasts: Option<SignedDuration>,
        /// Go on to hold its new mail.
        #[arg(long)]
        keep_holding: bool,
    },
    /// Remove what is held of a user or a stream, and hold its new mail no longer. No notice is sent. If a stranger has its password, change that first, or
    /// go on to hold.
    Drop {
        /// Whose: user:NAME or stream:NAME.
        of: MailOf,
        /// The reason, for the log.
        #[arg(long)]
        reason: String,
        /// Go on to hold its new mail.
        #[arg(long)]
        keep_holding: bool,
    },
}

impl Guard {
    /// Asks the running relay.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (of, how, keep_holding) = match self.command {
            None | Some(What::List) => return self.list(),
            Some(What::Release { of, lasts, keep_holding }) => (of, How::Release { lasts }, keep_holding),
            Some(What::Drop { of, reason, keep_holding }) => (of, How::Drop { reason }, keep_holding),
        };
        let word = if matches!(how, How::Drop { .. }) { "removed" } else { "released" };
        let done: Done = self.at.ask(&Request::EndGuard(EndRequest { of, how, keep_holding, by: operator() }))?;
        if self.json {
            writeln!(screen::out(), "{}", serde_json::to_string(&done)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let Done { key, messages, holding, until } = done;
        let left = match (holding, until) {
            (true, _) => "; new mail is still held".to_owned(),
            (false, Some(until)) => format!("; new mail goes out, and the same figures hold nothing until {until:.0} at most"),
            (false, None) => "; new mail goes out".to_owned(),
        };
        writeln!(screen::out(), "{} of {key} {word}{left}", count(messages, "message"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn list(&self) -> anyhow::Result<ExitCode> {
        let shown: Vec<Shown> = self.at.ask(&Request::Guard)?;
        match self.json {
            true => writeln!(screen::out(), "{}", serde_json::to_string(&shown)?)?,
            false if shown.is_empty() => writeln!(screen::out(), "the guard holds no mail")?,
            false => {
                let now = clock::now();
                let texts: Vec<String> = shown.iter().map(|shown| whole(shown, now)).collect();
                write!(screen::out(), "{}", texts.join("\n"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// One line about a hold.
pub(super) fn brief(held: &Shown, now: Timestamp) -> String {
    let lasts = span(held.since, now);
    format!("the guard holds new mail of {} for {lasts}: {}; `posthaste guard list` says why", held.key, count(held.messages, "message"))
}

fn whole(shown: &Shown, now: Timestamp) -> String {
    let Shown { key, since, why, rules, bytes, recipients, .. } = shown;
    let mut text = String::new();
    if shown.state != "holding" {
        let until = shown.until.map_or_else(String::new, |until| format!(" until {until:.0} at most"));
        let _ = writeln!(text, "{key}  left alone since {since:.0}{until}\n  {}", Foreign::new(why));
        return text;
    }
    let _ = writeln!(text, "{key}  held since {since:.0} ({})  {}", span(*since, now), rules.join(", "));
    let _ = writeln!(text, "  {}", Foreign::new(why));
    let oldest = shown.oldest.map_or_else(String::new, |oldest| format!("; the oldest is {} old", span(oldest, now)));
    let expires = shown.expires.map_or_else(String::new, |at| format!(", and expires at {at:.0}"));
    let full = if shown.full { "; no more fits, the rest is put off with 451" } else { "" };
    let recipients = count(*recipients, "recipient");
    let _ = writeln!(text, "  {} held, {recipients}, {bytes} bytes{oldest}{expires}{full}", count(shown.messages, "message"));
    let key = posthaste_findings::shell_word(key);
    let _ = writeln!(text, "  posthaste guard release {key}, or posthaste guard drop {key} --reason WHY");
    text
}
