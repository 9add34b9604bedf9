//! Why mail waits, as the queue knows it, and how the lanes that could take it stand.

use std::collections::HashMap;

use jiff::Timestamp;
use posthaste_governor::{LaneKey, Stage};
use posthaste_mail::{MessageId, Name};
use serde::{Deserialize, Serialize};

use crate::{
    Dispatcher, Rcpt, Selection, Seq,
    backlog::{
        domains::Known,
        table::{DomainIx, Phase, RecipientState},
    },
    budget::{block::Block, permits::expires},
};

/// A lane as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneNow {
    /// Connections opening or open.
    pub connections: usize,
    /// How many it may have now.
    pub most_connections: usize,
    /// Messages that wait for one of them.
    pub ready: usize,
    /// What stands in its way, and until when; None: it may send.
    pub hold: Option<Held>,
    /// Where it stands on its curve; None: it is warm.
    pub stage: Option<StageNow>,
    /// The last trouble, and when that was.
    pub last_error: Option<(Timestamp, String)>,
}

/// What stands in a lane's or a recipient's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Until then; None: not to be foreseen.
    pub until: Option<Timestamp>,
    /// For people.
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
    /// What of it is gone.
    pub used: u32,
    /// What the provider accepted of that.
    pub accepted: u32,
    /// The cap of the next day, if nothing more happens on this one.
    pub next_cap: Option<u32>,
}

/// A recipient that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waits {
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
    /// In a word: `in_flight`, `held`, `later`, `budget`, `dns`, `hosts_down`, `connection`.
    pub state: String,
    /// When it will go or be looked at again, and why it waits.
    #[serde(flatten)]
    pub held: Held,
}

impl Dispatcher {
    /// How these sources' lanes at a provider stand; those that never sent there are left out.
    pub fn lanes_now(&self, provider: &Name, sources: &[Name], now: Timestamp) -> Vec<(Name, LaneNow)> {
        let lane = |source: &Name| Some((source.clone(), self.lane_now(source, provider, now)?));
        sources.iter().filter_map(lane).collect()
    }

    /// Up to `limit` recipients that wait and fit, the oldest messages first, and how many fit in all.
    pub fn waits(&self, selection: &Selection, limit: usize, now: Timestamp) -> (Vec<Waits>, usize) {
        let fits = self.fitting_domains(selection);
        let gated = self.gated();
        let (mut waits, mut total) = (Vec::new(), 0);
        for seq in self.select(selection) {
            let Some(owed) = self.table.get(seq) else { continue };
            for (rcpt, recipient) in (0..).zip(owed.recipients()) {
                if recipient.phase == Phase::Ended || fits.as_ref().is_some_and(|f| !f.contains(&recipient.domain)) {
                    continue;
                }
                total += 1;
                if waits.len() >= limit {
                    continue;
                }
                let stream = self.streams.name(owed.stream);
                let (state, held) = self.held(recipient, gated.get(&(seq, rcpt)), now);
                waits.push(Waits {
                    seq,
                    id: owed.id,
                    rcpt,
                    domain: self.domains.get(recipient.domain).map_or_else(String::new, |d| d.name.to_string()),
                    stream: stream.clone(),
                    arrived: time(owed.arrived),
                    expires: time(self.deadlines.expires(seq, expires(owed.arrived, self.policy.stream(stream).retry.expire))),
                    attempts: recipient.attempts,
                    state: state.into(),
                    held,
                });
            }
        }
        (waits, total)
    }

    fn lane_now(&self, source: &Name, provider: &Name, now: Timestamp) -> Option<LaneNow> {
        let key = LaneKey::new(source.as_str(), provider.as_str());
        let governed = self.governor.find(&key)?;
        let status = self.governor.status(governed, now);
        let block = |hold| Block { source: Some(source.clone()), provider: provider.clone(), at: status.next_release, hold: Some(hold) };
        let until = Some(status.next_release).filter(|at| *at < Timestamp::MAX);
        let hold = status.hold.clone().map(|hold| Held { until, why: block(hold).told().detail });
        let warming = !self.governor.lane(governed).plan().curve.is_uncapped();
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
        let working = self.lanes.lanes.iter().find(|(_, lane)| lane.source == *source && lane.provider == *provider);
        Some(LaneNow {
            connections: working.map_or(0, |(_, lane)| lane.sessions),
            most_connections: working
                .map_or_else(|| self.policy.limits(provider.as_str()).connections, |(ix, _)| self.most_connections(*ix)),
            ready: working.map_or(0, |(_, lane)| lane.ready),
            hold,
            stage,
            last_error: working.and_then(|(_, lane)| lane.last_error.as_ref()).map(|(at, text)| (*at, text.to_string())),
        })
    }

    /// What waits at gates, with what was said of it and why.
    fn gated(&self) -> HashMap<(Seq, Rcpt), Held> {
        let mut gated = HashMap::new();
        for (group, told, block) in self.gates.all_blocked() {
            let until = told.filter(|told| *told < Timestamp::MAX);
            let held = Held { until, why: block.told().detail };
            gated.extend(group.rcpts.as_slice().iter().map(|rcpt| ((group.seq, *rcpt), held.clone())));
        }
        gated
    }

    fn held(&self, state: &RecipientState, gated: Option<&Held>, now: Timestamp) -> (&'static str, Held) {
        let held = |until, why: String| Held { until, why };
        match (state.phase, gated) {
            (Phase::InFlight | Phase::Cancelling, _) => ("in_flight", held(None, "a connection has it in hand".into())),
            (Phase::Held, _) => ("held", held(None, "an operator holds it: posthaste queue release".into())),
            _ if state.due > now.as_millisecond() => {
                let why = format!("attempt {} failed; the next is due by the retry schedule", state.attempts);
                ("later", held(Some(time(state.due)), why))
            }
            (_, Some(gated)) => ("budget", gated.clone()),
            _ => self.on_its_way(state.domain, now),
        }
    }

    /// Due, and not with a connection yet.
    fn on_its_way(&self, domain: DomainIx, now: Timestamp) -> (&'static str, Held) {
        let held = |until, why: String| Held { until, why };
        let known = self.domains.get(domain).map(|entry| &entry.known);
        let Some(Known::Route(way, _)) = known else {
            let why = match known {
                Some(Known::Nowhere(why, _)) => format!("DNS: {}", why.failure),
                _ => "DNS is being asked for its hosts".into(),
            };
            return ("dns", held(None, why));
        };
        let down = |path: &crate::connections::lanes::ReadyQueue| path.down.clone().filter(|(until, _)| *until > now.as_millisecond());
        let downs: Vec<_> = self.lanes.paths.values().filter(|path| path.route.key == way.key).map(down).collect();
        if let Some(Some((until, why))) = downs.iter().find(|down| down.is_some()).filter(|_| downs.iter().all(Option::is_some)) {
            return ("hosts_down", held(Some(time(*until)), format!("its hosts could not be reached and are left alone: {}", why.failure)));
        }
        ("connection", held(None, format!("it waits for its turn on a connection to {}", way.provider)))
    }
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}
