//! The delivery log as the relay writes it: every part of the relay appends its events here, with what is to be done once they are durable.
//!
//! It may know `mail`, `monitor` and `host`. It knows neither what an event is about nor what follows from it: the consequence is attached
//! to the line as a [`Ticket`]. Its invariants: lines keep the order in which they were appended; a ticket is redeemed after its line is on
//! disk, never before; tickets are redeemed in the order of their lines; an alarm about what is missing or damaged stands until an operator
//! acknowledges it, through any number of starts ([`Alarms`]).

mod alarms;
mod pending;
mod refusals;
mod said;

use std::{
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use posthaste_host::{InForce, clock, descriptors::AcceptNews};
use posthaste_mail::{Event, EventId, Name, SCHEMA_VERSION, What};
use posthaste_monitor::{EventLog, LogAlarm, LogError, LogOptions, MessageIndex};

pub use alarms::{Acknowledgement, Alarms, AlarmsError, Finding, StandingAlarm, StandingNow};
pub use pending::{Pending, PendingToken};
pub use refusals::network;
pub use said::{Part, State};

use refusals::Refusals;

/// What is done once a line is durable.
pub enum Ticket {
    /// All `accepted` lines of the message with this spool number are durable; its token is dropped.
    Accepted(u64, PendingToken),
    /// Runs on the log's thread: it must be quick, and must hold no [`Journal`].
    Then(Box<dyn FnOnce() + Send>),
}

impl Ticket {
    /// A ticket that runs `then`.
    pub fn then(then: impl FnOnce() + Send + 'static) -> Self {
        Self::Then(Box::new(then))
    }
}

/// A handle to the delivery log. Appending never blocks.
#[derive(Clone)]
pub struct Journal {
    log: EventLog<Ticket>,
    node: InForce<Name>,
    index: MessageIndex,
    refusals: Arc<Mutex<Refusals>>,
    owes: Arc<Mutex<Option<String>>>,
    alarms: Alarms,
}

impl Journal {
    /// The same journal; what it raises stands among these alarms.
    pub fn with_alarms(self, alarms: Alarms) -> Self {
        Self { alarms, ..self }
    }

    /// A journal that writes into `log`, under this node's name. Its alarms are in memory alone.
    pub fn new(log: EventLog<Ticket>, node: InForce<Name>) -> Self {
        let index = MessageIndex::new(log.dir());
        Self { log, node, index, refusals: Arc::default(), owes: Arc::default(), alarms: Alarms::in_memory() }
    }

    /// Appends an event.
    pub fn append(&self, at: Timestamp, what: What) {
        self.log.append(event(&self.node.get(), at, what), None);
    }

    /// Appends an event; `ticket` is redeemed once it is durable.
    pub fn append_with(&self, at: Timestamp, what: What, ticket: Ticket) {
        self.log.append(event(&self.node.get(), at, what), Some(ticket));
    }

    /// Appends a refusal of a stranger, or counts it for the minute's sums.
    pub fn refuse_stranger(&self, at: Timestamp, ip: IpAddr, reason: &str, what: What) {
        self.say_refused(at);
        if self.refusals.lock().unwrap_or_else(PoisonError::into_inner).gets_a_line(ip, reason) {
            self.append(at, what);
        }
    }

    /// Reports something about the relay that a stranger brought about: in a line like those about refused strangers, or summed with them.
    pub fn say_of_stranger(&self, ip: IpAddr, reason: &str, part: Part, state: State, detail: impl Into<String>) {
        self.say_refused(clock::now());
        if self.refusals.lock().unwrap_or_else(PoisonError::into_inner).gets_a_line(ip, reason) {
            self.say(part, state, detail);
        }
    }

    /// Writes so many lines a minute about refused strangers from now on, and sums the rest.
    pub fn limit_refusals(&self, lines: u32) {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).most = lines;
    }

    /// Says the sums of what was refused, if a minute is over.
    pub fn say_refused(&self, at: Timestamp) {
        let sums = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).sums(at);
        sums.into_iter().for_each(|sum| self.say(None, State::Refused, sum));
    }

    /// Appends events that belong together: no checkpoint falls between them, and `ticket` is redeemed once all of them are durable.
    pub fn append_all(&self, at: Timestamp, all: impl IntoIterator<Item = What>, ticket: Option<Ticket>) {
        let node = self.node.get();
        let mut all = all.into_iter().map(|what| event(&node, at, what)).peekable();
        // Most messages have one recipient, and a list would take room for four events.
        match all.next() {
            Some(only) if all.peek().is_none() => self.log.append(only, ticket),
            first => self.log.append_all(first.into_iter().chain(all).collect(), ticket),
        }
    }

    /// Reports something about the relay itself, in the delivery log and in the diagnostics. An alarm stands from now on until an operator
    /// acknowledges it; what ends by itself is raised by [`Self::raise`].
    pub fn say(&self, part: impl Into<Option<Part>>, state: State, detail: impl Into<String>) {
        let (part, detail) = (part.into(), detail.into());
        let alarm = (state == State::Alarm).then(|| {
            let finding = Finding { rule: "said", key: detail.clone(), part, what: detail.clone(), remedy: String::new() };
            self.alarms.begin(finding, false, clock::now())
        });
        self.report(part.map(Part::as_str), state, alarm.flatten().map(|alarm| alarm.id), detail);
    }

    /// Raises an alarm that stands until what it is about is [`mended`](Self::mended), or an operator acknowledges it. What was raised before and is
    /// not mended is not raised again. Does not block.
    pub fn raise(&self, finding: Finding) {
        self.raise_as(State::Alarm, finding);
    }

    /// The same, with another word in the log. Returns whether it is new.
    pub fn raise_as(&self, state: State, finding: Finding) -> bool {
        let raised = self.alarms.begin(finding, true, clock::now());
        raised.inspect(|alarm| self.report(alarm.part.as_deref(), state, Some(alarm.id), alarm.line(false))).is_some()
    }

    /// The same as [`Self::raise`]; an alarm that stands gets these words, and the log has them too.
    pub fn raise_again(&self, finding: Finding) {
        if let Some(alarm) = self.alarms.reword(&finding) {
            return self.report(alarm.part.as_deref(), State::Alarm, Some(alarm.id), alarm.line(false));
        }
        self.raise(finding);
    }

    /// The alarms that stand.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// What was raised by this rule about this key is mended: its alarm is over, and the log says so. Nothing happens if nothing was raised.
    pub fn mended(&self, part: impl Into<Option<Part>>, rule: &str, key: &str, detail: impl FnOnce() -> String) {
        if let Some(ids) = self.alarms.mend(rule, key) {
            self.report(part.into().map(Part::as_str), State::AlarmOver, ids.first().copied(), detail());
        }
    }

    /// Raises the alarm about a listener that can accept no connections, or ends it.
    pub fn note_accepting(&self, listener: &str, news: Option<AcceptNews>) {
        const RULE: &str = "not_accepting";
        match news {
            None => {}
            Some(AcceptNews::Again) => self.mended(None, RULE, listener, || format!("listener {listener} accepts connections again")),
            Some(AcceptNews::Fails(why)) => self.raise(Finding {
                rule: RULE,
                key: listener.to_owned(),
                part: None,
                what: format!("listener {listener} can accept no connections, and clients wait: {why}"),
                remedy: "If too many files are open, raise LimitNOFILE of the unit, or lower limits.connections".into(),
            }),
        }
    }

    /// The same as [`Self::mended`] for what has a word of its own in the log.
    pub fn mended_silently(&self, rule: &str, key: &str) {
        self.alarms.mend(rule, key);
    }

    /// Says an alarm that stands: the first time, or `again` because it still stands.
    pub fn say_alarm(&self, alarm: &StandingAlarm, again: bool) {
        self.report(alarm.part.as_deref(), State::Alarm, Some(alarm.id), alarm.line(again));
    }

    /// Says that an operator has acknowledged alarms, with a line for each that has a number.
    pub fn say_acknowledged(&self, acknowledgement: &Acknowledgement) {
        for (alarm, detail) in acknowledgement.lines() {
            self.report(None, State::AlarmAcknowledged, alarm, detail);
        }
    }

    fn report(&self, part: Option<&str>, state: State, alarm: Option<u64>, detail: String) {
        let word = state.as_str();
        match state {
            State::Alarm | State::Quarantined | State::ReloadFailed => tracing::error!(part, "{word}: {detail}"),
            State::Banned | State::SourceGone | State::ClockBack => tracing::warn!(part, "{word}: {detail}"),
            _ => tracing::info!(part, "{word}: {detail}"),
        }
        self.append(clock::now(), What::Relay { state: word.into(), part: part.map(Into::into), alarm, detail });
    }

    /// Why the log cannot be written at present; None while it can. Mail is not accepted while there is trouble.
    pub fn trouble(&self) -> Option<String> {
        self.log.trouble()
    }

    /// Where the lines of each message are.
    pub fn index(&self) -> &MessageIndex {
        &self.index
    }

    /// The log's folder.
    pub fn dir(&self) -> &Path {
        self.log.dir()
    }

    /// Says that there are lines that cannot be written although the disk takes them, and why; None: there are none any more. Mail is not
    /// accepted while there are.
    pub fn owe(&self, why: Option<String>) {
        *self.owes.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Why some lines cannot be written although the disk takes them; None: there are no such lines.
    pub fn owes(&self) -> Option<String> {
        self.owes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What others did to the log's files since the last call.
    pub fn take_alarms(&self) -> Vec<LogAlarm> {
        self.log.take_alarms()
    }

    /// The number of the newest list of the log's files.
    pub fn list_serial(&self) -> u64 {
        self.log.list_serial()
    }

    /// Lines that the log's thread has not taken yet.
    pub fn queued(&self) -> usize {
        self.log.queued()
    }

    /// How many lines were appended since the log was opened, and how many of them are durable.
    pub fn progress(&self) -> (u64, u64) {
        self.log.progress()
    }

    /// Blocks until all that was appended before is durable.
    ///
    /// # Errors
    /// The log is closed.
    pub fn flush(&self) -> Result<(), LogError> {
        self.log.flush()
    }

    /// Applies new options for rotation, retention and syncs.
    pub fn keep(&self, options: LogOptions) {
        self.log.keep(options);
    }

    /// Makes everything durable and ends the log's thread. Blocks.
    ///
    /// # Errors
    /// The disk failed; the lines that were not durable are lost.
    pub fn close(&self) -> Result<(), LogError> {
        self.log.close()
    }
}

/// Makes the events that the log itself has to report, under this node's name.
pub fn stamp(node: InForce<Name>) -> impl Fn(Timestamp, What) -> Event + Send + 'static {
    move |at, what| event(&node.get(), at, what)
}

/// An event with a new id.
fn event(node: &Name, at: Timestamp, what: What) -> Event {
    Event { time: at, v: SCHEMA_VERSION, id: EventId::new(at, rand::random()), node: node.clone(), what }
}
