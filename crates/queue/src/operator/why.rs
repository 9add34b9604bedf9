//! Why mail waits, as far as the queue knows, and the state of the lanes that could send it.

use std::collections::HashMap;

use jiff::Timestamp;
use posthaste_governor::{LaneKey, Stage};
use posthaste_mail::{MessageId, Name};
use serde::{Deserialize, Serialize};

use super::selection::MessageSelection;
use crate::{
    backlog::{
        domains::Known,
        table::{DomainIx, Phase, QueuedMessage, Rcpt, RecipientState, Seq},
    },
    budget::{Budget, block::Block, waitlist::WaitLists},
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

/// Why a lane may not send or a recipient waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Until when; None: that cannot be foreseen.
    pub until: Option<Timestamp>,
    /// The reason, as a sentence.
    pub why: String,
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
    /// Its state, as a word: `in_flight`, `held`, `later`, `budget`, `halted`, `dns`, `hosts_down`, `connection`.
    pub state: String,
    /// When it will go or be looked at again, and why it waits.
    #[serde(flatten)]
    pub held: Held,
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
pub(crate) fn waits(view: View<'_>, lists: &WaitLists, selection: &MessageSelection, limit: usize) -> WaitingRecipients {
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
    let budget = waiting_for_budget(lists, &seqs);
    let waits = |(seq, message, rcpt, recipient): (Seq, &QueuedMessage, Rcpt, &RecipientState)| {
        let (state, held) = held(view, recipient, budget.get(&(seq, rcpt)));
        WaitingRecipient {
            seq,
            id: message.id,
            rcpt,
            domain: view.backlog.domains().name(recipient.domain).to_owned(),
            stream: view.backlog.streams().name(message.stream).clone(),
            arrived: timestamp(message.arrived),
            expires: timestamp(view.backlog.expires(seq, message, view.policy)),
            attempts: recipient.attempts,
            state: state.into(),
            held,
        }
    };
    WaitingRecipients { first: shown.into_iter().map(waits).collect(), total }
}

fn lane_now(view: View<'_>, budget: &Budget, source: &Name, provider: &Name) -> Option<LaneNow> {
    let governor = budget.governor();
    let id = governor.find(&LaneKey::new(source.as_str(), provider.as_str()))?;
    let status = governor.status(id, view.now);
    let block =
        |hold| Block { source: Some(source.clone()), lane: None, provider: provider.clone(), at: status.next_release, hold: Some(hold) };
    let until = Some(status.next_release).filter(|at| *at < Timestamp::MAX);
    let hold = status.hold.clone().map(|hold| Held { until, why: block(hold).wait().detail });
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
        last_error: working.and_then(|lane| lane.last_error.as_ref()).map(|(at, text)| (*at, text.to_string())),
    })
}

/// The recipients of these messages that wait for budget, each with the logged end of its wait and the reason.
fn waiting_for_budget(lists: &WaitLists, seqs: &[Seq]) -> HashMap<(Seq, Rcpt), Held> {
    let mut waiting = HashMap::new();
    for (group, logged_until, block) in lists.of(seqs) {
        let held = Held { until: logged_until.filter(|until| *until < Timestamp::MAX), why: block.wait().detail };
        waiting.extend(group.rcpts.as_slice().iter().map(|rcpt| ((group.seq, *rcpt), held.clone())));
    }
    waiting
}

fn held(view: View<'_>, recipient: &RecipientState, budget: Option<&Held>) -> (&'static str, Held) {
    let held = |until, why: String| Held { until, why };
    match (recipient.phase, budget) {
        (Phase::InFlight | Phase::Cancelling, _) => ("in_flight", held(None, "a connection has it in hand".into())),
        (Phase::Held, _) => ("held", held(None, "an operator holds it: posthaste queue release".into())),
        _ if recipient.due > view.now.as_millisecond() => {
            let why = match recipient.attempts {
                0 => "it was put off before an attempt; its turn comes again by the retry schedule".to_owned(),
                n => format!("attempt {n} failed; the next is due by the retry schedule"),
            };
            ("later", held(Some(timestamp(recipient.due)), why))
        }
        (_, Some(budget)) => ("budget", budget.clone()),
        _ if view.halt.is_halted() => ("halted", held(None, view.halt.why().unwrap_or_default())),
        _ => on_its_way(view, recipient.domain),
    }
}

/// The state of a recipient that is due and not in flight yet.
fn on_its_way(view: View<'_>, domain: DomainIx) -> (&'static str, Held) {
    let held = |until, why: String| Held { until, why };
    let known = view.backlog.domains().get(domain).map(|entry| &entry.known);
    let Some(Known::Route(site, _)) = known else {
        let why = match known {
            Some(Known::Nowhere(why, ..)) => format!("DNS: {}", why.failure),
            _ => "DNS is being asked for its hosts".into(),
        };
        return ("dns", held(None, why));
    };
    let queues = view.lanes.queues().filter(|queue| queue.site.key == site.key);
    let down: Vec<_> = queues.map(|queue| queue.down.as_ref().filter(|down| down.until > view.now.as_millisecond())).collect();
    if let Some(Some(down)) = down.first().filter(|_| down.iter().all(Option::is_some)) {
        let why = format!("its hosts could not be reached and are left alone: {}", down.why.failure);
        return ("hosts_down", held(Some(timestamp(down.until)), why));
    }
    ("connection", held(None, format!("it waits for its turn on a connection to {}", site.provider)))
}
