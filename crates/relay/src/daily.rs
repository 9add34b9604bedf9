//! Mails the report of each day: when, `posthaste_watch::Schedule` decides.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, civil::Date};
use posthaste_channels::{DailyReport, Post};
use posthaste_host::{clock, files};
use posthaste_journal::{Finding, Journal, Part, State};
use posthaste_mail::Foreign;
use posthaste_watch::{By, Figures, FiguresError, Incidents, Report, ReportRequest, Schedule, SentReports, StoppedLanes, open_in};
use tokio::task::spawn_blocking;

use crate::settings::{Settings, Swap};

/// The file of what was sent, in the data folder.
const NAME: &str = "report.json";
/// How often it is looked at whether a report is due: the clock may have been set, or the configuration changed.
const EVERY: SignedDuration = SignedDuration::from_mins(1);
/// So long a server that did not take a report is left alone.
const AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// The rows of each table of a report.
const ROWS: usize = 10;
/// The rules of its alarms.
const UNSENT: &str = "report_unsent";
const UNWRITABLE: &str = "report_unwritable";

/// Mails the report of each day.
pub(crate) struct Daily {
    pub(crate) figures: Figures,
    pub(crate) incidents: Incidents,
    pub(crate) journal: Journal,
    pub(crate) settings: Swap,
}

impl Daily {
    /// Mails what is due until the relay stops. Never returns.
    pub(crate) async fn run(self) {
        let path = self.settings.load().config.data_dir.join(NAME);
        let mut sent = None;
        let mut not_before = Timestamp::MIN;
        loop {
            let (settings, now) = (self.settings.load_full(), clock::now());
            if let (Some(report), Some(counting)) = (&settings.config.report, &settings.config.monitor.counting) {
                let schedule = Schedule { at: report.at, zone: counting.zone.clone() };
                if sent.is_none() {
                    sent = Some(self.load(path.clone(), now).await);
                }
                // A clock that was set back must not put it off.
                let may = now >= not_before || not_before.duration_since(now) > AGAIN;
                if let Some(sent) = &mut sent
                    && let Some(day) = schedule.due(sent, now).filter(|_| may)
                {
                    match self.send(&schedule, day, report, now).await {
                        Ok(()) => self.sent(sent, day, &path).await,
                        Err(why) => {
                            not_before = now.checked_add(AGAIN).unwrap_or(now);
                            self.journal.raise_again(unsent(day, &why));
                        }
                    }
                }
            }
            tokio::time::sleep(clock::sleep_for(EVERY).max(LEAST)).await;
        }
    }

    /// What was sent, by the file; of a file that cannot be used, the operator hears.
    async fn load(&self, path: PathBuf, now: Timestamp) -> SentReports {
        let (sent, trouble) = spawn_blocking(move || load(&path, now)).await.unwrap_or_else(|_| (SentReports::none_until(now), None));
        if let Some(trouble) = trouble {
            self.journal.say(Part::Channels, State::Alarm, trouble);
        }
        sent
    }

    async fn send(&self, schedule: &Schedule, day: Date, by: &DailyReport, now: Timestamp) -> Result<(), String> {
        let settings = self.settings.load_full();
        let channels = settings.channels.clone();
        let Some((_, tls)) = &channels.report else { return Err("the configuration has just changed".into()) };
        let span = schedule.span(day).ok_or("there is no such day")?;
        let (figures, incidents) = (self.figures.clone(), open_in(self.incidents.list(), (span.0, now)));
        let (node, stopped) = (settings.config.node.clone(), self.incidents.stopped_lanes());
        let written = spawn_blocking(move || {
            let report = Report { incidents: Some(incidents), ..read(&figures, span, now, (&settings, &stopped)).map_err(|error| error.to_string())? };
            Ok::<_, String>((report.headline(node.as_str()), letter(&report, node.as_str(), day)))
        });
        let (subject, text) = written.await.map_err(|error| error.to_string())??;
        let id = format!("report.{day}.{}", channels.node);
        let post = Post { by, tls, hostname: &channels.hostname };
        post.send(&subject, text, &id, now).await.map_err(|error| error.to_string())
    }

    async fn sent(&self, sent: &mut SentReports, day: Date, path: &Path) {
        self.journal.mended(Part::Channels, UNSENT, "", || format!("the report of {day} is mailed"));
        sent.add(day);
        let (bytes, to) = (sent.to_bytes(), path.to_owned());
        let saved = spawn_blocking(move || files::replace(&to, &bytes)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        match saved {
            Ok(()) => self.journal.mended(Part::Channels, UNWRITABLE, "", || format!("{} can be written again", path.display())),
            Err(error) => self.journal.raise(Finding {
                rule: UNWRITABLE,
                key: String::new(),
                part: Some(Part::Channels),
                what: format!("{} cannot be written: {error}. Until it can, a restart mails the report of a day again", path.display()),
                remedy: "Make room on the disk, and see that the file belongs to the relay's user".into(),
            }),
        }
    }
}

/// A rehearsal's minute may be shorter than a mail takes.
const LEAST: Duration = Duration::from_millis(100);

fn read(
    figures: &Figures,
    (from, to): (Timestamp, Timestamp),
    now: Timestamp,
    (settings, stopped): (&Settings, &StoppedLanes),
) -> Result<Report, FiguresError> {
    let request = ReportRequest { from, to, by: None, most: ROWS };
    figures.read(|tallies| {
        let report = Report::read(tallies, &request, None::<By>)?.scored(tallies, now, &settings.config.score, stopped)?;
        report.in_full(tallies, ROWS)
    })
}

/// The mail's text. What it quotes of strangers (domains, users, replies) gives no terminal orders, and makes no lines.
fn letter(report: &Report, node: &str, day: Date) -> String {
    let text = report.to_string();
    let lines = text.lines().map(|line| format!("{}\n", Foreign::new(line)));
    let again = format!("\nOf {node}. `posthaste report --day={day} --full` shows it again; [report] in the configuration mails it.\n");
    lines.chain([again]).collect()
}

/// What was sent, by the file at `path`, which is made if there is none. One that cannot be used is put aside: a report that is mailed twice, or
/// not at all, is better than a relay that does not start.
fn load(path: &Path, now: Timestamp) -> (SentReports, Option<String>) {
    let none = SentReports::none_until(now);
    let why = match files::read(path) {
        Ok(bytes) => match SentReports::from_bytes(&bytes) {
            Ok(sent) => return (sent, None),
            Err(error) => error.to_string(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = files::replace(path, &none.to_bytes());
            return (none, made.err().map(|error| format!("{} cannot be written: {error}", path.display())));
        }
        Err(error) => error.to_string(),
    };
    let aside = path.with_added_extension(format!("unreadable-{}", now.as_second()));
    let moved = match std::fs::rename(path, &aside) {
        Ok(()) => format!("it is now {}", aside.display()),
        Err(error) => format!("and it cannot be renamed: {error}"),
    };
    let _ = files::replace(path, &none.to_bytes());
    (none, Some(format!("{} cannot be used: {why}; {moved}. The next report that is mailed is the next one due", path.display())))
}

fn unsent(day: Date, why: &str) -> Finding {
    Finding {
        rule: UNSENT,
        key: String::new(),
        part: Some(Part::Channels),
        what: format!("the report of {day} cannot be mailed: {why}"),
        remedy: format!("It is tried again until the next one is due; check [report]. `posthaste report --day={day} --full` shows it"),
    }
}
