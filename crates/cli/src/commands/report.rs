//! `posthaste report`

use std::{io::Write, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use posthaste_config::Config;
use posthaste_host::clock;
use posthaste_relay::{
    admin::{AskError, Request, ask},
    lock,
};
use posthaste_tallies::{Dimension, LogReader, Tallies};
use posthaste_watch::{Report as Figures, ReportRequest, StoppedLanes};

use super::{At, log::moment};
use crate::{progress::Progress, screen};

/// Say what became of the mail: accepted, delivered, deferred, bounced and so on, why it failed, and how long it took. Default: of the last 24
/// hours.
#[derive(Args)]
pub(crate) struct Report {
    #[command(flatten)]
    at: At,
    /// The day so far.
    #[arg(long, conflicts_with_all = ["week", "since", "until"])]
    day: bool,
    /// The last seven days.
    #[arg(long, conflicts_with_all = ["since", "until"])]
    week: bool,
    /// From this time on: a time (2026-11-29T10:00:00Z) or an age (6h).
    #[arg(long, value_parser = moment)]
    since: Option<Timestamp>,
    /// Up to this time: a time or an age. Default: now.
    #[arg(long, value_parser = moment)]
    until: Option<Timestamp>,
    /// Tell the figures apart: by provider, source, stream, user, from_domain, domain, tag, class, stream_provider, source_provider,
    /// rule_provider or reason.
    #[arg(long, value_name = "WHAT")]
    by: Option<Dimension>,
    /// The most rows of --by, the largest first.
    #[arg(long, default_value_t = 20, value_name = "N")]
    rows: usize,
    /// Print the formula of the health score, with the numbers in force (table score of the configuration).
    #[arg(long)]
    explain_score: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Report {
    /// Asks the running relay. Without one, counts what the log has grown by, and reads the figures itself.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.look_as_owner()?;
        if self.explain_score {
            write!(screen::out(), "{}", posthaste_findings::score::explain(&config.score))?;
            return Ok(ExitCode::SUCCESS);
        }
        let counted = config.monitor.counting.as_ref().context("the delivery log is not counted: monitor.enabled is false")?;
        let now = clock::now();
        let midnight = now.to_zoned_datetime(counted.zone.clone()).start_of_day()?.timestamp();
        let from = match (self.day, self.week, self.since) {
            (true, ..) => midnight,
            (_, true, _) => now - SignedDuration::from_hours(7 * 24),
            (.., Some(since)) => since,
            _ => now - SignedDuration::from_hours(24),
        };
        // The minute that is not over yet counts too.
        let to = self.until.unwrap_or(now + SignedDuration::from_mins(1));
        anyhow::ensure!(from < to, "the span ends before it begins: from {from} to {to}");
        let request = ReportRequest { from, to, by: self.by.map(|by| by.as_str().to_owned()), most: self.rows };
        let figures = match ask::<Figures>(&config.admin.socket, &Request::Report(request.clone())) {
            Ok(figures) => figures,
            Err(AskError::NotRunning(_)) => {
                self.at.must_have_data(&config)?;
                stopped(&config, &request, self.by)?
            }
            Err(error) => return Err(error.into()),
        };
        match self.json {
            true => writeln!(screen::out(), "{}", serde_json::to_string(&figures)?)?,
            false => write!(screen::out(), "{}", figures)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn stopped(config: &Config, request: &ReportRequest, by: Option<Dimension>) -> anyhow::Result<Figures> {
    let _lock = lock(&config.data_dir)?;
    let settings = config.monitor.counting.clone().context("the delivery log is not counted")?;
    let mut tallies = Tallies::open(&settings.path, settings.zone, settings.limits)?;
    let (mut reader, progress) = (LogReader::new(&settings.log), Progress::endless("counting the delivery log"));
    while !reader.catch_up(&mut tallies, LINES_AT_ONCE)?.at_end {}
    drop(progress);
    // No lane is stopped while nothing is sent.
    Ok(Figures::read(&tallies, request, by)?.scored(&tallies, clock::now(), &config.score, &StoppedLanes::new())?)
}

/// Lines that are counted and saved at once.
const LINES_AT_ONCE: u64 = 100_000;
