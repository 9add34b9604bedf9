//! `posthaste report`

use std::{io::Write, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use posthaste_config::Config;
use posthaste_host::clock;
use posthaste_relay::{
    admin::{AskError, Request, ask},
    lock,
};
use posthaste_tallies::{LogReader, Tallies};
use posthaste_watch::{By, OFF, Report as Figures, ReportRequest, StoppedLanes, kept_in, open_in};

use super::{
    At,
    log::{Moment, moment},
};
use crate::{progress::Progress, screen};

/// Say what became of the mail: accepted, delivered, deferred, bounced and so on, why it failed, how long it took, the health score and what costs it
/// points, and the incidents. Default: of the last 24 hours. Exit status 2 if there are no data to look at.
#[derive(Args)]
pub(crate) struct Report {
    #[command(flatten)]
    at: At,
    /// The day so far, or --day=yesterday, or --day=2026-11-29, in the zone of monitor.time_zone.
    #[arg(
        long,
        value_name = "DAY",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "today",
        value_parser = day,
        conflicts_with_all = ["week", "since", "until"]
    )]
    day: Option<Day>,
    /// The last seven days.
    #[arg(long, conflicts_with_all = ["since", "until"])]
    week: bool,
    /// From this time on: a time (2026-11-29T10:00:00Z) or an age (6h).
    #[arg(long, value_parser = moment)]
    since: Option<Moment>,
    /// Up to this time: a time or an age. Default: now.
    #[arg(long, value_parser = moment)]
    until: Option<Moment>,
    /// Tell the figures apart: by hour, day, provider, source, stream, user, from_domain, domain (of recipients), tag, class (of failures),
    /// stream_provider, source_provider, rule_provider (reasons of failures), reason (of refusals at the door) or
    /// user_stream.
    #[arg(long, value_name = "WHAT")]
    by: Option<By>,
    /// Tell the figures apart in all these ways, as pflogsumm does, with the ten largest rows of each (or --rows).
    #[arg(long, conflicts_with = "by")]
    full: bool,
    /// The most rows of --by, the largest first. Default: 20.
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    /// Mail the report of yesterday now, to try out what the table report of the configuration says.
    #[arg(long, conflicts_with_all = ["day", "week", "since", "until", "by", "full", "rows", "explain_score"])]
    mail: bool,
    /// Print the formula of the health score, with the numbers in force (table score of the configuration).
    #[arg(long)]
    explain_score: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// A day that is asked for.
#[derive(Clone, Copy, Debug)]
enum Day {
    Today,
    Yesterday,
    Of(Date),
}

fn day(text: &str) -> Result<Day, String> {
    match text {
        "today" => Ok(Day::Today),
        "yesterday" => Ok(Day::Yesterday),
        _ => text.parse().map(Day::Of).map_err(|_| format!("{text:?} is no day: today, yesterday, or one such as 2026-11-29")),
    }
}

impl Report {
    /// Asks the running relay. Without one, counts what the log has grown by, and reads the figures itself.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.look_as_owner()?;
        if self.explain_score {
            write!(screen::out(), "{}", posthaste_findings::score::explain(&config.score))?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.mail {
            let said: String = self.at.ask(&Request::MailReport)?;
            match self.json {
                true => writeln!(screen::out(), "{}", serde_json::json!({ "done": said }))?,
                false => writeln!(screen::out(), "{said}")?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        let counted = config.monitor.counting.as_ref().context(OFF)?;
        let (from, to) = self.span(&counted.zone)?;
        anyhow::ensure!(from < to, "the span ends before it begins: from {from} to {to}");
        let most = self.rows.unwrap_or(if self.full { ROWS_IN_FULL } else { ROWS });
        let request = ReportRequest { from, to, by: self.by.map(|by| by.as_str().to_owned()), most };
        let asked = Request::Report { request: request.clone(), full: self.full };
        let figures = match ask::<Figures>(&config.admin.socket, &asked) {
            Ok(figures) => figures,
            Err(AskError::NotRunning(_)) => {
                self.at.must_have_data(&config)?;
                self.stopped(&config, &request)?
            }
            Err(error) => return Err(error.into()),
        };
        match self.json {
            true => writeln!(screen::out(), "{}", serde_json::to_string(&figures)?)?,
            false => write!(screen::out(), "{}", figures)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn span(&self, zone: &TimeZone) -> anyhow::Result<(Timestamp, Timestamp)> {
        let now = clock::now();
        // The minute that is not over yet counts too.
        let until_now = now + SignedDuration::from_mins(1);
        let begin = |date: Date| anyhow::Ok(date.to_zoned_datetime(zone.clone())?.timestamp());
        let today = now.to_zoned_datetime(zone.clone()).date();
        match self.day {
            Some(Day::Today) => return Ok((begin(today)?, until_now)),
            Some(Day::Yesterday) => return Ok((begin(today.yesterday()?)?, begin(today)?)),
            Some(Day::Of(date)) => return Ok((begin(date)?, begin(date.tomorrow()?)?)),
            None => {}
        }
        let to = self.until.map_or(until_now, Moment::time);
        let before = |hours: i64| anyhow::Ok(to.min(now).checked_sub(SignedDuration::from_hours(hours))?);
        Ok((if self.week { before(7 * 24)? } else { self.since.map_or_else(|| before(24), |since| Ok(since.time()))? }, to))
    }

    fn stopped(&self, config: &Config, request: &ReportRequest) -> anyhow::Result<Figures> {
        let _lock = lock(&config.data_dir)?;
        let settings = config.monitor.counting.clone().context(OFF)?;
        let mut tallies = Tallies::open(&settings.path, settings.zone, settings.limits)?;
        let (mut reader, progress) = (LogReader::new(&settings.log), Progress::endless("counting the delivery log"));
        while !reader.catch_up(&mut tallies, LINES_AT_ONCE)?.at_end {}
        drop(progress);
        // No lane is stopped while nothing is sent.
        let (stopped, kept) = (StoppedLanes::new(), kept_in(&config.data_dir));
        let report = Figures::read(&tallies, request, self.by)?.scored(&tallies, clock::now(), &config.score, (&stopped, &kept))?;
        let report = Figures { incidents: Some(open_in(&kept, (request.from, request.to))), ..report };
        Ok(if self.full { report.in_full(&tallies, request.most)? } else { report })
    }
}

/// Lines that are counted and saved at once.
const LINES_AT_ONCE: u64 = 100_000;
/// Rows of --by, and of each table of --full.
const ROWS: usize = 20;
const ROWS_IN_FULL: usize = 10;
