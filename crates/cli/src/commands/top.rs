//! `posthaste top`

mod app;
mod live;
mod look;
mod rates;
mod room;
mod rows;
mod view;

use std::{io::Write, process::ExitCode, time::Duration};

use clap::Args;
use jiff::SignedDuration;
use posthaste_host::clock;
use posthaste_relay::{admin::Request, top::Top as Answer};

use self::app::App;
use super::At;
use crate::screen;

/// Watch live what the relay does: rates, the queue by state, the providers that refuse most, lanes with cap and use, warm-up, the oldest message and
/// the incidents that are open. Keys: q quits, s sorts, / filters, p pauses, ? helps. Where standard output is no terminal, it prints one frame.
#[derive(Args)]
pub(crate) struct Top {
    #[command(flatten)]
    at: At,
    /// How often the relay is asked, from 1s to 60s.
    #[arg(long, default_value = "2s", value_name = "SPAN", value_parser = pause)]
    every: Duration,
    /// Print one frame as plain text.
    #[arg(long)]
    once: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Top {
    /// Asks the running relay, over and over.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if !self.json && !self.once && screen::is_live() {
            return live::run(&self.at, self.every);
        }
        let answer: Answer = self.at.ask(&Request::Top { minutes: true })?;
        if self.json {
            writeln!(screen::out(), "{}", serde_json::to_string(&answer)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let now = clock::now();
        let mut app = App::new(false);
        app.hear(Ok(answer), now);
        let lines = view::lines(&app, now, screen::width().unwrap_or(PLAIN_WIDTH), view::Height::All);
        let mut out = screen::raw();
        lines.iter().try_for_each(|line| writeln!(out, "{}", line.to_string().trim_end()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The columns of a frame that goes to no terminal.
const PLAIN_WIDTH: usize = 80;

fn pause(text: &str) -> Result<Duration, String> {
    let span: Option<SignedDuration> = text.parse().ok();
    let span = span.filter(|span| (SignedDuration::from_secs(1)..=SignedDuration::from_secs(60)).contains(span));
    span.and_then(|span| Duration::try_from(span).ok()).ok_or_else(|| format!("{text:?} is no span from 1s to 60s"))
}
