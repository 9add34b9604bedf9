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
use posthaste_watch::{
    By, Figures, FiguresError, Incidents, NotCounted, Report, ReportRequest, Schedule, SentReports, Shown, StoppedLanes, open_in,
};
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

/// Mails the report of each day. Clones share everything.
#[derive(Clone)]
pub struct Daily {
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
        let (mut not_before, mut failed) = (Timestamp::MIN, None);
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
                    match self.send(&schedule, day, report, (now, "")).await {
                        Ok(()) => self.sent(sent, day, &path).await,
                        // A start may have much to count.
                        Err(Hindrance::StillCounted(_)) => {}
                        Err(Hindrance::Failed(why)) => {
                            not_before = now.checked_add(AGAIN).unwrap_or(now);
                            match failed.replace(day) == Some(day) {
                                true => self.journal.raise(unsent(day, &why)),
                                false => self.journal.raise_again(unsent(day, &why)),
                            }
                        }
                    }
                }
            }
            tokio::time::sleep(clock::sleep_for(EVERY).max(LEAST)).await;
        }
    }

    /// Mails the report of yesterday now, for an operator who tries it out: what is due stays due. Returns what became of it, in words.
    pub(crate) async fn try_out(&self, now: Timestamp) -> Result<String, String> {
        let config = self.settings.load().config.clone();
        let (Some(report), Some(counting)) = (&config.report, &config.monitor.counting) else {
            return Err("no report is mailed: [report] names nobody".into());
        };
        let schedule = Schedule { at: report.at, zone: counting.zone.clone() };
        let day = now.to_zoned_datetime(counting.zone.clone()).date().yesterday().map_err(|error| error.to_string())?;
        let post = &report.mail;
        let sent = self.send(&schedule, day, report, (now, &format!(".try-{}", now.as_second()))).await;
        sent.map_err(|hindrance| hindrance.to_string())?;
        let to: Vec<String> = post.to.iter().map(ToString::to_string).collect();
        Ok(format!("{} has taken the report of {day} for {}", post.server, to.join(", ")))
    }

    /// What was sent, by the file; of a file that cannot be used, the operator hears.
    async fn load(&self, path: PathBuf, now: Timestamp) -> SentReports {
        let (sent, trouble) = spawn_blocking(move || load(&path, now)).await.unwrap_or_else(|_| (SentReports::none_until(now), None));
        if let Some(trouble) = trouble {
            self.journal.say(Part::Channels, State::Alarm, trouble);
        }
        sent
    }

    /// Mails the report of a day. `unlike` is part of the Message-ID: a letter with the same one may be taken for the same letter.
    async fn send(&self, schedule: &Schedule, day: Date, by: &DailyReport, (now, unlike): (Timestamp, &str)) -> Result<(), Hindrance> {
        let failed = |why: &dyn ToString| Hindrance::Failed(why.to_string());
        let settings = self.settings.load_full();
        let channels = settings.channels.clone();
        let Some((_, tls)) = &channels.report else { return Err(failed(&"the configuration has just changed")) };
        let span = schedule.span(day).ok_or_else(|| failed(&"there is no such day"))?;
        let (figures, kept) = (self.figures.clone(), self.incidents.list());
        let (node, stopped) = (settings.config.node.clone(), self.incidents.stopped_lanes());
        let written = spawn_blocking(move || {
            let report = read(&figures, span, now, (&settings, &stopped, &kept))?;
            let report = Report { incidents: Some(open_in(&kept, (span.0, now))), ..report };
            Ok::<_, FiguresError>((report.headline(node.as_str()), letter(&report, node.as_str(), day)))
        });
        let (subject, text) = written.await.map_err(|error| failed(&error))?.map_err(|error| match error {
            FiguresError::NotCounted(yet @ NotCounted::Yet) => Hindrance::StillCounted(yet),
            error => failed(&error),
        })?;
        let id = format!("report.{day}.{}{unlike}", channels.node);
        let post = Post { by, tls, hostname: &channels.hostname };
        post.send(&subject, text, &id, now).await.map_err(|error| failed(&error))
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

/// Why a report is not mailed now.
#[derive(Debug, thiserror::Error)]
enum Hindrance {
    #[error(transparent)]
    StillCounted(NotCounted),
    #[error("{0}")]
    Failed(String),
}

/// A rehearsal's minute may be shorter than a mail takes.
const LEAST: Duration = Duration::from_millis(100);

fn read(
    figures: &Figures,
    (from, to): (Timestamp, Timestamp),
    now: Timestamp,
    (settings, stopped, incidents): (&Settings, &StoppedLanes, &[Shown]),
) -> Result<Report, FiguresError> {
    let request = ReportRequest { from, to, by: None, most: ROWS };
    figures.read(|tallies| {
        let report = Report::read(tallies, &request, None::<By>)?.scored(tallies, now, &settings.config.score, (stopped, incidents))?;
        report.in_full(tallies, ROWS)
    })
}

/// The mail's text. What it quotes of strangers (domains, users, replies) gives no terminal orders, and makes no lines.
fn letter(report: &Report, node: &str, day: Date) -> String {
    let text = report.to_string();
    let lines = text.lines().map(|line| format!("{}\n", Foreign::new(line)));
    let again = format!("\nOf {node}. `posthaste report --day={day} --full` shows it again.\n[report] in the configuration mails it.\n");
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
