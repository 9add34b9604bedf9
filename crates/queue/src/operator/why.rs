//! Why mail waits, as far as the queue knows, and the state of the lanes that could send it.

use jiff::Timestamp;
use posthaste_governor::{LaneKey, Priority, Stage};
use posthaste_mail::{MessageId, Name};
use serde::{Deserialize, Serialize};

use super::{
    selection::MessageSelection,
    waits::{self, Held, Standing, Waits},
};
use crate::{
    backlog::table::{QueuedMessage, Rcpt, RecipientState, Seq},
    budget::Budget,
    times::timestamp,
    view::View,
};

/// The current state of a lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneNow {
    /// Connections opening or open.
    pub connections: usize,
    /// How many it may have now.
    pub most_connections: usize,
    /// Messages that wait for one of them.
    pub ready: usize,
    /// Why it may not send, and until when; None: it may.
    pub hold: Option<Held>,
    /// Its day on its curve; None: it is warm.
    pub stage: Option<StageNow>,
    /// The last error, and when that was.
    pub last_error: Option<(Timestamp, String)>,
}

/// A lane's day on its curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageNow {
    /// The stage, from 1; None: past the curve's end.
    pub stage: Option<u32>,
    /// How many the curve has.
    pub stages: u32,
    /// What the day allows; None: any number.
    pub cap: Option<u32>,
    /// How much of the cap is used.
    pub used: u32,
    /// How much of that the provider accepted.
    pub accepted: u32,
    /// The cap of the next day, if nothing more happens on this one.
    pub next_cap: Option<u32>,
}

/// A recipient that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitingRecipient {
    /// The message's number in the spool.
    pub seq: Seq,
    /// The message.
    pub id: MessageId,
    /// Its place in the envelope.
    pub rcpt: Rcpt,
    /// Its domain.
    pub domain: String,
    /// The message's stream.
    pub stream: Name,
    /// When it was accepted.
    pub arrived: Timestamp,
    /// When it is given up.
    pub expires: Timestamp,
    /// How often it was tried.
    pub attempts: u16,
    /// When it will go or be looked at again, and why it waits.
    #[serde(flatten)]
    pub standing: Standing,
}

/// The current state of a source's lane.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceNow {
    /// The source.
    pub source: Name,
    /// Its lane.
    pub now: LaneNow,
}

/// Some recipients that wait.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingRecipients {
    /// The first that fit, those of the oldest messages.
    pub first: Vec<WaitingRecipient>,
    /// How many fit in all.
    pub total: usize,
}

/// The current state of these sources' lanes at a provider; those that never sent there are left out.
pub(crate) fn lanes_now(view: View<'_>, budget: &Budget, provider: &Name, sources: &[Name]) -> Vec<SourceNow> {
    let lane = |source: &Name| Some(SourceNow { source: source.clone(), now: lane_now(view, budget, source, provider)? });
    sources.iter().filter_map(lane).collect()
}

/// Up to `limit` recipients that wait and fit. With an id no other message is looked at.
pub(crate) fn waits(view: View<'_>, budget: &Budget, selection: &MessageSelection, limit: usize) -> WaitingRecipients {
    let selected = selection.of(view.backlog);
    let table = view.backlog.table();
    let fitting = selected.messages.iter().filter_map(|seq| Some((*seq, table.get(*seq)?)));
    let fitting = fitting.flat_map(|(seq, message)| message.queued().map(move |(rcpt, recipient)| (seq, message, rcpt, recipient)));
    let (mut shown, mut total) = (Vec::new(), 0);
    for recipient in fitting.filter(|(.., recipient)| selected.has(recipient.domain)) {
        total += 1;
        if shown.len() < limit {
            shown.push(recipient);
        }
    }
    let mut seqs: Vec<Seq> = shown.iter().map(|(seq, ..)| *seq).collect();
    seqs.dedup();
    let mut standing = Waits::new(view, budget, &seqs);
    let waits = |(seq, message, rcpt, recipient): (Seq, &QueuedMessage, Rcpt, &RecipientState)| WaitingRecipient {
        seq,
        id: message.id,
        rcpt,
        domain: view.backlog.domains().name(recipient.domain).to_owned(),
        stream: view.backlog.streams().name(message.stream).clone(),
        arrived: timestamp(message.arrived),
        expires: timestamp(view.backlog.expires(seq, message, view.policy)),
        attempts: recipient.attempts,
        standing: standing.of(seq, message, rcpt, recipient),
    };
    WaitingRecipients { first: shown.into_iter().map(waits).collect(), total }
}

fn lane_now(view: View<'_>, budget: &Budget, source: &Name, provider: &Name) -> Option<LaneNow> {
    let governor = budget.governor();
    let id = governor.find(&LaneKey::new(source.as_str(), provider.as_str()))?;
    let status = governor.status(id, view.now);
    let hold = waits::hold(governor, id, Priority::Usual, view.now).map(|block| waits::held(&block));
    let warming = !governor.lane(id).plan().curve.is_uncapped();
    let stage = warming.then_some(StageNow {
        stage: match status.stage {
            Stage::On(number) => Some(number),
            _ => None,
        },
        stages: status.stages,
        cap: status.cap,
        used: status.used,
        accepted: status.counts.accepted,
        next_cap: status.next_cap,
    });
    let working = view.lanes.find(source, provider).and_then(|lane| view.lanes.get(lane));
    let limits = view.policy.limits(provider.as_str());
    Some(LaneNow {
        connections: working.map_or(0, |lane| lane.sessions),
        most_connections: working.map_or(limits.connections, |lane| budget.most_connections(id, lane, view.policy, view.now)),
        ready: working.map_or(0, |lane| lane.ready),
        hold,
        stage,
        last_error: working.and_then(|lane| lane.last_error.as_ref()).map(|last| (last.at, last.said.to_string())),
    })
}
