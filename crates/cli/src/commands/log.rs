//! `posthaste log`

use std::{io::Write, process::ExitCode, time::Duration};

use clap::Args;
use jiff::{Span, Timestamp};
use posthaste_host::clock;
use posthaste_monitor::{Format, LineFilter, Lines, LogRecord, SCHEMA};

use super::At;
use crate::screen;

/// How often a followed log is checked for new lines.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Show the delivery log.
#[derive(Args)]
pub(crate) struct Log {
    #[command(flatten)]
    at: At,
    /// Keep running and show new lines as they are written.
    #[arg(long, short)]
    follow: bool,
    /// Start with this many of the last lines. --since and --all look further back.
    #[arg(long, short = 'n', default_value_t = 20, value_name = "LINES")]
    lines: usize,
    /// Show all lines that the log still holds.
    #[arg(long)]
    all: bool,
    /// Print the lines as they are in the file.
    #[arg(long)]
    json: bool,
    /// Print only the JSON Schema of the lines.
    #[arg(long)]
    schema: bool,
    /// Only this event: delivered, deferred, bounced, ...
    #[arg(long)]
    event: Option<String>,
    /// Only recipients at this domain.
    #[arg(long)]
    domain: Option<String>,
    /// Only this provider.
    #[arg(long)]
    provider: Option<String>,
    /// Only this stream.
    #[arg(long)]
    stream: Option<String>,
    /// Only this recipient.
    #[arg(long)]
    rcpt: Option<String>,
    /// Only this class: rate_limited, invalid_recipient, ...
    #[arg(long)]
    class: Option<String>,
    /// Only lines from this time on: a time (2026-11-23T10:00:00Z) or an age (2h).
    #[arg(long, value_parser = moment)]
    since: Option<Timestamp>,
    /// Only lines up to this time: a time or an age.
    #[arg(long, value_parser = moment)]
    until: Option<Timestamp>,
}

impl Log {
    /// Prints the lines that match; with `--follow`, until the reader goes away.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if self.schema {
            screen::out().write_all(SCHEMA.as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        let dir = self.at.load_as_owner()?.log.dir;
        let mut lines = match self.since {
            _ if self.all => Lines::all(&dir),
            Some(since) => Lines::since(&dir, since),
            None => Lines::tail(&dir, self.lines)?,
        };
        let (json, follow) = (self.json, self.follow);
        let filter = self.filter();
        let colour = screen::has_colours();
        let format = Format { colour };
        let mut out = std::io::BufWriter::new(screen::out_in(colour && !json));
        loop {
            while let Some(line) = lines.next_line()? {
                let Some(record) = LogRecord::parse(line.bytes).filter(|s| filter.matches(s)) else { continue };
                if json {
                    out.write_all(line.bytes)?;
                    out.write_all(b"\n")?;
                } else {
                    writeln!(out, "{}", format.line(&record))?;
                }
            }
            out.flush()?;
            if !follow {
                return Ok(ExitCode::SUCCESS);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn filter(self) -> LineFilter {
        let Self { event, domain, provider, stream, rcpt, class, since, until, .. } = self;
        LineFilter { event, domain, provider, stream, rcpt, class, message: None, since, until }
    }
}

/// Parses a time, or an age such as `2h`.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let age: Span = text.parse().map_err(|_| format!("{text:?} is neither a time such as 2026-11-23T10:00:00Z nor an age such as 2h"))?;
    let seconds = age.total((jiff::Unit::Second, jiff::SpanRelativeTo::days_are_24_hours())).map_err(|e| e.to_string())?;
    let age = jiff::SignedDuration::try_from_secs_f64(seconds).map_err(|e| e.to_string())?;
    clock::now().checked_sub(age).map_err(|e| e.to_string())
}
