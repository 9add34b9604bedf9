//! `posthaste queue`

use std::{io::Write, process::ExitCode};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use posthaste_host::{clock, span};
use posthaste_mail::{Foreign, MessageId};
use posthaste_monitor::LogRecord;
use posthaste_queue::{LaneRow, MessageSelection, QueueChange, RecipientRow};
use posthaste_relay::{
    admin::{self, Changed, List, Listed, Request, Traced},
    why,
};

use super::{At, count, id_like, operator, table::fitted, words::as_logged};
use crate::screen;

/// The default for `list --limit`.
const LISTED: usize = 100;

/// Show and change the queue of waiting messages. Without a command: a table by provider.
#[derive(Args)]
pub(crate) struct Queue {
    #[command(flatten)]
    at: At,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// List messages, the oldest first.
    List {
        #[command(flatten)]
        which: Which,
        /// List at most this many messages; the relay lists 10000 at most.
        #[arg(long, short = 'n', default_value_t = LISTED)]
        limit: usize,
    },
    /// Show one message.
    Show {
        /// The message's id, a part of it, or its Message-ID.
        id: String,
    },
    /// Try messages now, even if they are not due or their hosts are considered down.
    Retry {
        #[command(flatten)]
        which: Which,
        /// Send messages now, too, that their senders want sent later.
        #[arg(long)]
        scheduled: bool,
    },
    /// Hold messages until they are released.
    Hold {
        #[command(flatten)]
        which: Which,
        /// The reason, for the log.
        #[arg(long, default_value = "operator")]
        reason: String,
    },
    /// Release messages that are held. What the guard holds is left alone (`posthaste guard release`), unless its id is given.
    Release {
        #[command(flatten)]
        which: Which,
    },
    /// Remove messages. No notice is sent.
    Drop {
        #[command(flatten)]
        which: Which,
        /// The reason, for the log.
        #[arg(long)]
        reason: String,
    },
}

/// Which messages: one id, or all that match every given option.
#[derive(Args)]
struct Which {
    /// A message's id, a part of it, or its Message-ID.
    id: Option<String>,
    /// Recipients at this domain.
    #[arg(long, conflicts_with = "id", value_parser = as_logged)]
    domain: Option<String>,
    /// Recipients of this provider.
    #[arg(long, conflicts_with = "id")]
    provider: Option<String>,
    /// Messages of this stream.
    #[arg(long, conflicts_with = "id")]
    stream: Option<String>,
    /// Messages that this user submitted.
    #[arg(long, conflicts_with = "id")]
    user: Option<String>,
    /// All messages.
    #[arg(long, conflicts_with_all = ["id", "domain", "provider", "stream", "user"])]
    all: bool,
}

impl Which {
    fn is_empty(&self) -> bool {
        let Self { id, domain, provider, stream, user, all } = self;
        id.is_none() && domain.is_none() && provider.is_none() && stream.is_none() && user.is_none() && !all
    }

    /// An empty selection is an error: selecting everything needs `--all`.
    fn selection(&self, at: &At) -> anyhow::Result<MessageSelection> {
        let Self { id, domain, provider, stream, user, .. } = self;
        if self.is_empty() {
            anyhow::bail!("select messages by an ID, --domain, --provider, --stream, --user or --all");
        }
        let id = id.as_deref().map(|id| id_like(&at.look()?, id)).transpose()?;
        Ok(MessageSelection { id, domain: domain.clone(), provider: provider.clone(), stream: stream.clone(), user: user.clone() })
    }
}

impl Queue {
    /// Runs the subcommand. Exit status 1 if nothing matches.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let change = match self.command {
            None => return self.table(),
            Some(What::List { ref which, limit }) => {
                let selection = if which.is_empty() { MessageSelection::default() } else { which.selection(&self.at)? };
                return self.list(selection, limit);
            }
            Some(What::Show { ref id }) => {
                let id = id_like(&self.at.look()?, id)?;
                return self.show(id);
            }
            Some(What::Retry { ref which, scheduled }) => {
                QueueChange::Retry { selection: which.selection(&self.at)?, scheduled, by: operator() }
            }
            Some(What::Hold { ref which, ref reason }) => {
                QueueChange::Hold { selection: which.selection(&self.at)?, reason: reason.clone() }
            }
            Some(What::Release { ref which }) => QueueChange::Release { selection: which.selection(&self.at)?, by: operator() },
            Some(What::Drop { ref which, ref reason }) => {
                QueueChange::Cancel { selection: which.selection(&self.at)?, by: operator(), reason: reason.clone() }
            }
        };
        let (QueueChange::Retry { selection, .. }
        | QueueChange::Hold { selection, .. }
        | QueueChange::Release { selection, .. }
        | QueueChange::Cancel { selection, .. }) = &change;
        let one = selection.id;
        let changed: Changed = self.at.ask(&Request::Change(change))?;
        match self.json {
            true => writeln!(screen::out(), "{}", serde_json::to_string(&changed)?)?,
            false => writeln!(screen::out(), "{}", count(changed.messages, "message"))?,
        }
        if !self.json {
            changed.not_sent.iter().try_for_each(|why| writeln!(screen::out(), "{}", Foreign::new(why)))?;
            if changed.scheduled > 0 {
                let left = match changed.scheduled {
                    1 => "1 message waits for the time that its sender has set".to_owned(),
                    n => format!("{n} messages wait for the times that their senders have set"),
                };
                writeln!(screen::out(), "{left}; --scheduled sends it before that")?;
            }
            if changed.guarded > 0 {
                let left = count(changed.guarded, "message");
                writeln!(screen::out(), "{left} held by the guard: `posthaste guard list` says why, `posthaste guard release` sends it")?;
            }
        }
        match one.filter(|_| changed.messages == 0) {
            Some(id) if !self.is_waiting(id)? => self.ended(id),
            _ => Ok(if changed.messages > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        }
    }

    fn table(&self) -> anyhow::Result<ExitCode> {
        let queue: admin::Queue = self.at.ask(&Request::Queue)?;
        let mut out = screen::out();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&queue)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        write!(out, "{}", table(&queue, clock::now(), screen::width()))?;
        let c = queue.counts;
        let (messages, recipients, connections) =
            (count(c.messages, "message"), count(c.recipients, "recipient"), count(c.connections, "connection"));
        writeln!(
            out,
            "{messages}, {recipients}: {} due, {} later, {} being sent, {} held; {connections}",
            c.due, c.later, c.in_flight, c.held
        )?;
        for held in &queue.guarded {
            writeln!(out, "{}", super::guard::brief(held, clock::now()))?;
        }
        for doing in &queue.slow {
            writeln!(out, "under way: {}", Foreign::new(doing))?;
        }
        if let Some(why) = &queue.blocked {
            writeln!(out, "{why}")?;
        }
        if let Some(why) = queue.halted {
            writeln!(out, "deliveries are halted: {}", Foreign::new(&why))?;
        }
        if let Some(why) = queue.closed {
            writeln!(out, "no mail is accepted: {}", Foreign::new(&why))?;
        }
        for alarm in &queue.standing.alarms {
            writeln!(out, "alarm {}, since {:.0}: {}", alarm.id, alarm.since, alarm.what)?;
        }
        match (queue.standing.alarms.len(), queue.standing.more) {
            (0, 0) => {}
            (_, 0) => writeln!(out, "`posthaste alarms` says what to do about them, and ends them")?,
            (_, more) => writeln!(out, "and {more} more alarms; `posthaste alarms` says what to do about them, and ends them")?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn list(&self, selection: MessageSelection, limit: usize) -> anyhow::Result<ExitCode> {
        let list: List = self.at.ask(&Request::List { selection, limit })?;
        let mut out = screen::out();
        if self.json {
            for message in &list.messages {
                writeln!(out, "{}", serde_json::to_string(message)?)?;
            }
        } else {
            let now = clock::now();
            list.messages.iter().try_for_each(|m| write!(out, "{}", message(m, now)))?;
            if list.total > list.messages.len() {
                writeln!(out, "… and {} more", list.total - list.messages.len())?;
            }
        }
        if list.messages.is_empty() {
            screen::say("nothing in the queue matches");
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// One message. Of one that is not in the queue any more, it is said what became of it.
    fn show(&self, id: MessageId) -> anyhow::Result<ExitCode> {
        if self.is_waiting(id)? { self.list(MessageSelection::one(id), 1) } else { self.ended(id) }
    }

    fn is_waiting(&self, id: MessageId) -> anyhow::Result<bool> {
        let list: List = self.at.ask(&Request::List { selection: MessageSelection::one(id), limit: 1 })?;
        Ok(!list.messages.is_empty())
    }

    /// Says what became of a message that is not in the queue.
    fn ended(&self, id: MessageId) -> anyhow::Result<ExitCode> {
        let traced: Traced = self.at.ask(&Request::Trace { what: id.to_string() })?;
        let records = traced.lines.iter().filter_map(|line| LogRecord::parse(line.as_bytes()));
        let mut is_known = false;
        for record in records.filter(|record| record.message() == Some(id) && record.is_ending()) {
            let rcpt = record.rcpt.as_deref().unwrap_or_default();
            screen::say(format_args!(
                "{} for {}, at {}",
                Foreign::new(&*record.event),
                Foreign::new(rcpt),
                Foreign::new(&*record.time_text)
            ));
            is_known = true;
        }
        match is_known {
            true => screen::say(format_args!("it is not in the queue any more; `posthaste trace {id}` shows its history")),
            false => screen::say("nothing in the queue matches"),
        }
        Ok(ExitCode::FAILURE)
    }
}

fn message(m: &Listed, now: Timestamp) -> String {
    let row = &m.row;
    let mut out = format!(
        "{}  {} old  {} bytes\n    stream {}  from <{}>\n",
        row.id,
        span(row.arrived, now),
        row.size,
        row.stream,
        Foreign::new(&m.from)
    );
    for (i, RecipientRow { domain, attempts, .. }) in row.rcpts.iter().enumerate() {
        let address = m.addresses.get(i).cloned().unwrap_or_else(|| format!("?@{domain}"));
        out += &format!("    {}  attempts {attempts}\n", Foreign::new(&address));
        out.extend(row.standing.get(i).map(|standing| format!("        {}\n", why::stands(standing, now))));
        let answer = m.answers.get(i).and_then(Option::as_ref);
        out.extend(answer.iter().flat_map(|told| told.in_words(now)).map(|line| format!("        {line}\n")));
    }
    out
}

/// The table by provider: numbers in columns, and below each row its last error, and its lanes that may not send. For a reader with so many
/// columns.
fn table(queue: &admin::Queue, now: Timestamp, width: Option<usize>) -> String {
    let head = ["provider", "queued", "due", "on hold", "budget", "sending", "conns", "oldest", "next"];
    let row = |lane: &LaneRow| {
        let cells = vec![
            lane.provider.clone(),
            lane.queued.to_string(),
            lane.due.to_string(),
            lane.held.to_string(),
            lane.budget.to_string(),
            lane.in_flight.to_string(),
            lane.connections.to_string(),
            lane.oldest.map_or_else(String::new, |t| span(t, now)),
            next(queue, lane, now),
        ];
        (cells, notes(queue, lane, now))
    };
    let rows: Vec<_> = queue.lanes.iter().map(row).collect();
    if rows.is_empty() { String::new() } else { fitted(&head, &rows, width) }
}

/// What is to be said of a provider's mail: its last error, and why it waits.
fn notes(queue: &admin::Queue, lane: &LaneRow, now: Timestamp) -> Vec<String> {
    let mut notes = Vec::new();
    let sources: Vec<String> = lane.sources.iter().map(ToString::to_string).collect();
    let ago = lane.last_error_at.map_or_else(String::new, |at| format!(", {} ago", span(at, now)));
    if let Some(said) = &lane.last_error {
        let by = if sources.is_empty() { String::new() } else { format!(" by {}", sources.join(",")) };
        notes.push(format!("last error{by}{ago}: {}", Foreign::new(said)));
    }
    if let (Some(until), Some(why)) = (lane.down_until, &lane.down_why) {
        notes.push(format!("{}; tried again in {}", Foreign::new(why), span(now, until)));
    }
    for hold in queue.holds.iter().filter(|hold| hold.provider == lane.provider) {
        notes.push(format!("waits {}", why::held(&hold.held, now)));
    }
    notes
}

/// When the next of a provider's mail goes: the latest of all that it waits for, or before that when it expires.
fn next(queue: &admin::Queue, lane: &LaneRow, now: Timestamp) -> String {
    let holds = || queue.holds.iter().filter(|hold| hold.provider == lane.provider);
    let is_held = !lane.sources.is_empty() && lane.sources.iter().all(|source| holds().any(|hold| *hold.source == *source.as_str()));
    let lanes = holds().filter_map(|hold| hold.held.until).min().filter(|_| is_held);
    let own = if lane.due > lane.budget { None } else { lane.next };
    match (is_held, lanes.max(own).or(lane.next)) {
        (true, None) => "?".to_owned(),
        (_, at) => at.map_or_else(String::new, |at| span(now, lane.goes(at))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        let t = |s| Timestamp::from_second(s).unwrap();
        assert_eq!([span(t(0), t(5)), span(t(0), t(65)), span(t(0), t(3660)), span(t(0), t(90_000))], ["5s", "1m05s", "1h01m", "1d01h"]);
        assert_eq!(span(t(9), t(5)), "0s");
    }
}
