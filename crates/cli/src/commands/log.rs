//! `posthaste log`

use std::{
    io::{BufWriter, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use jiff::{SignedDuration, Span, Timestamp};
use posthaste_config::Config;
use posthaste_host::clock;
use posthaste_mail::{Class, nearest};
use posthaste_monitor::{Backward, Format, LineFilter, LineFinder, Lines, LogError, LogRecord, SCHEMA, events};
use posthaste_relay::admin::{Logged, Request, ask};
use posthaste_relay::settings::known_providers;

use super::{At, words::as_logged};
use crate::screen::{self, Screen};

/// How often a followed log is checked for new lines.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How many lines are shown if nothing else is asked for.
const LINES: usize = 20;

/// Show the delivery log. Exit status 1 if no line matches.
#[derive(Args)]
pub(crate) struct Log {
    #[command(flatten)]
    at: At,
    /// Keep running and show new lines as they are written.
    #[arg(long, short)]
    follow: bool,
    /// Show this many of the last lines that match. Default: 20; with --since, all.
    #[arg(long, short = 'n', value_name = "LINES")]
    lines: Option<usize>,
    /// Show all lines that the log still holds.
    #[arg(long, conflicts_with = "lines")]
    all: bool,
    /// Print the lines as they are in the file.
    #[arg(long)]
    json: bool,
    /// Print only the JSON Schema of the lines.
    #[arg(long)]
    schema: bool,
    /// Only this event: delivered, deferred, bounced, ...
    #[arg(long, value_parser = event)]
    event: Option<String>,
    /// Only recipients at this domain.
    #[arg(long, value_parser = as_logged)]
    domain: Option<String>,
    /// Only mail whose From field has this domain.
    #[arg(long, value_parser = as_logged)]
    from_domain: Option<String>,
    /// Only this provider.
    #[arg(long)]
    provider: Option<String>,
    /// Only this stream.
    #[arg(long)]
    stream: Option<String>,
    /// Only mail of this user, and refusals of a client that claimed to be it.
    #[arg(long)]
    user: Option<String>,
    /// Only what this source sent.
    #[arg(long)]
    source: Option<String>,
    /// Only this recipient.
    #[arg(long, value_parser = as_logged)]
    rcpt: Option<String>,
    /// Only this class: rate_limited, invalid_recipient, ...
    #[arg(long, value_parser = class)]
    class: Option<String>,
    /// Only messages with this tag.
    #[arg(long)]
    tag: Option<String>,
    /// Only lines from this time on: a time (2026-11-23T10:00:00Z) or an age (2h).
    #[arg(long, value_parser = moment)]
    since: Option<Moment>,
    /// Only lines up to this time: a time or an age.
    #[arg(long, value_parser = moment)]
    until: Option<Moment>,
}

impl Log {
    /// Prints the lines that match; with `--follow`, until the reader goes away.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if self.schema {
            screen::raw().write_all(SCHEMA.as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        let config = self.at.look_as_owner()?;
        self.check_names(&config)?;
        self.at.must_have_log(&config)?;
        let mut shown = Shown::new(self.json);
        match self.read(&config.log.dir, &mut shown) {
            // The log is private to the relay's user; whoever may ask the relay may read it all the same.
            Err(error) if error.downcast_ref::<LogError>().is_some_and(LogError::is_denied) => {
                self.ask(&config.admin.socket, &mut shown)?
            }
            read => read?,
        }
        if shown.lines == 0 {
            screen::say("no line of the delivery log matches");
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn read(&self, dir: &Path, shown: &mut Shown) -> anyhow::Result<()> {
        let finder = LineFinder::new(self.filter());
        let mut lines = match self.most() {
            Some(count) => {
                let stop = Backward { since: self.since.map(Moment::time), ..Backward::last(count) };
                let (last, follow) = Lines::last(dir, stop, |line| finder.find(line).is_some())?;
                last.iter().try_for_each(|line| shown.show(line))?;
                follow
            }
            None => self.since.map_or_else(|| Lines::all(dir), |since| Lines::since(dir, since.time())),
        };
        let is_tail = self.most().is_some() && !self.follow;
        loop {
            while !is_tail && let Some(line) = lines.next_line()? {
                if finder.find(line.bytes).is_some() {
                    shown.show(line.bytes)?;
                }
            }
            shown.flush()?;
            if !self.follow {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The same from the running relay.
    fn ask(&self, socket: &Path, shown: &mut Shown) -> anyhow::Result<()> {
        let mut request = Request::Log { filter: self.filter(), last: self.most(), after: None };
        loop {
            let Logged { lines, end, more } = ask(socket, &request)?;
            lines.iter().try_for_each(|line| shown.show(line.as_bytes()))?;
            shown.flush()?;
            if !more && !self.follow {
                return Ok(());
            }
            request = Request::Log { filter: self.filter(), last: None, after: end };
            if !more {
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }

    /// How many of the last lines to show; None: all.
    fn most(&self) -> Option<usize> {
        match self.all || (self.since.is_some() && self.lines.is_none()) {
            true => None,
            false => Some(self.lines.unwrap_or(LINES)),
        }
    }

    fn filter(&self) -> LineFilter {
        let Self { event, domain, provider, stream, rcpt, class, tag, user, source, from_domain, since, until, .. } = self;
        let (event, domain, provider, stream) = (event.clone(), domain.clone(), provider.clone(), stream.clone());
        let (rcpt, class, tag, user, source) = (rcpt.clone(), class.clone(), tag.clone(), user.clone(), source.clone());
        LineFilter {
            event,
            domain,
            provider,
            stream,
            rcpt,
            class,
            tag,
            user,
            source,
            from_domain: from_domain.clone(),
            message: None,
            since: since.map(Moment::time),
            until: until.map(Moment::time),
        }
    }

    /// Refuses names that no line can have. An old stream may be in the log still.
    fn check_names(&self, config: &Config) -> anyhow::Result<()> {
        self.provider.as_deref().map_or(Ok(()), |provider| must_be_provider(provider, config))
    }
}

/// Refuses a name that no provider has. One that is not in the table has a domain, an address or a route's host as its name.
pub(super) fn must_be_provider(name: &str, config: &Config) -> anyhow::Result<()> {
    if name.contains(['.', ':']) {
        return Ok(());
    }
    let known = known_providers(config)?;
    anyhow::ensure!(known.iter().any(|one| one.eq_ignore_ascii_case(name)), "{}", no_such("provider", name, &known));
    Ok(())
}

/// Lines on their way to the reader.
struct Shown {
    out: BufWriter<Screen<std::io::StdoutLock<'static>>>,
    format: Option<Format>,
    lines: u64,
}

impl Shown {
    fn new(json: bool) -> Self {
        let colour = screen::has_colours() && !json;
        let format = (!json).then(|| Format { colour, width: screen::width() });
        Self { out: BufWriter::new(screen::out_in(colour)), format, lines: 0 }
    }

    fn show(&mut self, line: &[u8]) -> std::io::Result<()> {
        let text = match self.format {
            None => None,
            Some(format) => match LogRecord::parse(line) {
                Some(record) => Some(format.line(&record)),
                None => return Ok(()),
            },
        };
        self.lines += 1;
        self.out.write_all(text.as_deref().map_or(line, str::as_bytes))?;
        self.out.write_all(b"\n")
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

fn event(text: &str) -> Result<String, String> {
    known("event", text, &events())
}

fn class(text: &str) -> Result<String, String> {
    known("class", &text.replace('-', "_"), &Class::ALL.iter().map(|class| class.as_str().to_owned()).collect::<Vec<_>>())
}

/// One of the words, or an error that names them.
fn known(kind: &str, text: &str, words: &[String]) -> Result<String, String> {
    let word = words.iter().find(|word| word.eq_ignore_ascii_case(text));
    word.cloned().ok_or_else(|| no_such(kind, text, words))
}

fn no_such(kind: &str, text: &str, words: &[String]) -> String {
    let many = if kind == "class" { "classes".to_owned() } else { format!("{kind}s") };
    let meant = nearest(text, words.iter().map(String::as_str)).map_or_else(String::new, |word| format!("; did you mean {word}?"));
    format!("there is no {kind} {text:?}; {many} are: {}{meant}", words.join(", "))
}

/// A time, or how long ago.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    At(Timestamp),
    Ago(SignedDuration),
}

impl Moment {
    /// When it was, by the clock of the relay: the configuration is read before.
    pub(super) fn time(self) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(age) => clock::now().checked_sub(age).unwrap_or(Timestamp::MIN),
        }
    }
}

/// Parses a time, or an age such as `2h`.
pub(super) fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Moment::At(time));
    }
    let age: Span = text.parse().map_err(|_| format!("{text:?} is neither a time such as 2026-11-23T10:00:00Z nor an age such as 2h"))?;
    let seconds = age.total((jiff::Unit::Second, jiff::SpanRelativeTo::days_are_24_hours())).map_err(|e| e.to_string())?;
    let age = SignedDuration::try_from_secs_f64(seconds).map_err(|e| e.to_string())?;
    // That a mistaken age lies before all time is said before anything else is.
    clock::now().checked_sub(age).map_err(|e| e.to_string())?;
    Ok(Moment::Ago(age))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_with_the_word_that_was_meant() {
        assert_eq!(event("Delivered").as_deref(), Ok("delivered"));
        assert_eq!(class("rate-limited").as_deref(), Ok("rate_limited"));
        let slip = event("deliverd").unwrap_err();
        assert!(slip.contains("bounced") && slip.ends_with("did you mean delivered?"), "{slip}");
        assert!(class("foo").unwrap_err().contains("classes are: "));
    }
}
