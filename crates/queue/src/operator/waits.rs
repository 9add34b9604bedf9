//! What a recipient waits for, and until when: one answer for whoever asks (`why`, `queue list`, `trace`, `mailq`).

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::{Governor, LaneId, LaneKey, Priority};
use posthaste_mail::{Failure, Name};
use serde::{Deserialize, Serialize};

use crate::{
    backlog::{
        domains::Known,
        table::{DomainIx, Phase, QueuedMessage, Rcpt, RecipientState, Seq, StreamIx},
    },
    budget::{Budget, block::Block},
    exchange::Unroutable,
    times::timestamp,
    view::View,
};

/// Why a lane may not send or a recipient waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Until when; None: that cannot be foreseen.
    pub until: Option<Timestamp>,
    /// The reason, as a sentence.
    pub why: String,
}

/// How a recipient stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// As a word: `in_flight`, `held` (by an operator), `guarded` (held by the guard), `scheduled` (by its sender), `paused` (its lanes are),
    /// `later`, `budget`, `halted`, `dns`, `hosts_down`, `connection`.
    pub state: String,
    /// When it will go or be looked at again, and why it waits.
    #[serde(flatten)]
    pub held: Held,
}

/// Times that differ by less are the same for people.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(1);

/// What the recipients of some messages wait for.
pub(crate) struct Waits<'v> {
    view: View<'v>,
    budget: &'v Budget,
    /// The recipients on wait lists: the logged end of each wait, and the reason.
    listed: HashMap<(Seq, Rcpt), (Option<Timestamp>, Block)>,
    /// The lanes that hold back what a stream sends to a domain: the first that may send again.
    lanes: HashMap<(StreamIx, DomainIx), Option<Block>>,
}

impl<'v> Waits<'v> {
    /// For these messages. For a single one no wait list is scanned.
    pub(crate) fn new(view: View<'v>, budget: &'v Budget, seqs: &[Seq]) -> Self {
        let mut listed = HashMap::new();
        for (group, logged_until, block) in budget.lists().of(seqs) {
            let until = logged_until.filter(|until| *until < Timestamp::MAX);
            listed.extend(group.rcpts.as_slice().iter().map(|rcpt| ((group.seq, *rcpt), (until, block.clone()))));
        }
        Self { view, budget, listed, lanes: HashMap::new() }
    }

    /// How a recipient stands. Of all that it waits for, the last to end counts: a lane that may send again later than the recipient's own turn
    /// comes keeps it until then. What lasts for longer than the message is not waited for: it is tried a last time, or ends without that.
    pub(crate) fn of(&mut self, seq: Seq, message: &QueuedMessage, rcpt: Rcpt, recipient: &RecipientState) -> Standing {
        let mut standing = self.whole_wait(seq, message, rcpt, recipient);
        let Some(until) = standing.held.until else { return standing };
        let (backlog, policy) = (self.view.backlog, self.view.policy);
        let (expires, last) = (backlog.expires(seq, message, policy), backlog.last_chance(seq, message, policy));
        // Nothing becomes of it before its own turn comes, however old it is then.
        let turn = Some(recipient.due).filter(|due| *due > self.view.now.as_millisecond()).unwrap_or_default();
        let lanes = self.by_lanes(message.stream, recipient.domain).and_then(|block| block.hold);
        let is_kept = matches!(&*standing.state, "budget" | "paused") && !lanes.is_some_and(|hold| hold.is_push_back());
        let (end, why) = match is_kept {
            true => (expires, "it expires before that"),
            false => (last, "it is tried a last time when it expires, before that"),
        };
        let end = timestamp(end.max(turn));
        if until > end {
            standing.held = Held { until: Some(end), why: format!("{}; {why}", standing.held.why) };
        } else if standing.state == "later" && turn >= expires {
            standing.held.why += ", when it has expired: that attempt is its last";
        }
        standing
    }

    /// The same, as if it lived for ever.
    fn whole_wait(&mut self, seq: Seq, message: &QueuedMessage, rcpt: Rcpt, recipient: &RecipientState) -> Standing {
        let (state, held) = self.own(seq, message, rcpt, recipient);
        let standing = |state: &str, held| Standing { state: state.to_owned(), held };
        let is_bound = !matches!(state, "in_flight" | "held" | "guarded" | "halted");
        let Some(lane) = self.by_lanes(message.stream, recipient.domain).filter(|_| is_bound) else { return standing(state, held) };
        let Held { until, why } = self::held(&lane);
        let is_later = match (until, held.until) {
            (Some(lane), Some(own)) => lane > own.saturating_add(SAME_TIME).unwrap_or(own),
            (None, _) => true,
            (Some(_), None) => state != "budget",
        };
        let word = if lane.can_be_resumed() { "paused" } else { "budget" };
        match (is_later, state) {
            (false, "budget") if lane.can_be_resumed() => standing(word, Held { why, ..held }),
            (false, _) => standing(state, held),
            (true, _) => {
                let turn = held.until.filter(|_| state != "budget");
                let turn = turn.map_or_else(String::new, |own| format!(" (its own turn comes at {} UTC)", own.strftime("%F %T")));
                standing(word, Held { until, why: why + &turn })
            }
        }
    }

    fn own(&self, seq: Seq, message: &QueuedMessage, rcpt: Rcpt, recipient: &RecipientState) -> (&'static str, Held) {
        let held = |until, why: &str| Held { until, why: why.to_owned() };
        if let Some(guarded) = self.view.backlog.guarded().get(seq).filter(|_| recipient.phase == Phase::Held) {
            return ("guarded", held(None, &guarded.why));
        }
        match (recipient.phase, self.listed.get(&(seq, rcpt))) {
            (Phase::InFlight | Phase::Cancelling, _) => ("in_flight", held(None, "a session is delivering it")),
            (Phase::Held, _) => ("held", held(None, "an operator holds it: posthaste queue release")),
            _ if message.is_scheduled(recipient, self.view.now.as_millisecond()) => {
                ("scheduled", held(Some(timestamp(recipient.due)), "its sender wants it sent then and not before"))
            }
            _ if recipient.due > self.view.now.as_millisecond() => {
                let why = match recipient.attempts {
                    0 => "it was put off before an attempt; its turn comes again by the retry schedule".to_owned(),
                    n => format!("attempt {n} failed; the next is due by the retry schedule"),
                };
                ("later", held(Some(timestamp(recipient.due)), &why))
            }
            (_, Some((until, block))) => ("budget", Held { until: *until, why: block.wait().detail }),
            _ if self.view.halt.is_halted() => ("halted", held(None, &self.view.halt.why().unwrap_or_default())),
            _ => self.on_its_way(recipient.domain),
        }
    }

    /// The state of a recipient that is due and not in flight yet.
    fn on_its_way(&self, domain: DomainIx) -> (&'static str, Held) {
        let held = |until, why: String| Held { until, why };
        let known = self.view.backlog.domains().get(domain).map(|entry| &entry.known);
        let Some(Known::Route(site, _)) = known else {
            let why = match known {
                Some(Known::Nowhere(why, ..)) => format!("DNS: {}", why.failure),
                _ => "DNS is being asked for its hosts".into(),
            };
            return ("dns", held(None, why));
        };
        let queues = self.view.lanes.queues().filter(|queue| queue.site.key == site.key);
        let down: Vec<_> = queues.map(|queue| queue.down.as_ref().filter(|down| down.until > self.view.now.as_millisecond())).collect();
        if let Some(Some(down)) = down.first().filter(|_| down.iter().all(Option::is_some)) {
            return ("hosts_down", held(Some(timestamp(down.until)), left_alone(&down.why)));
        }
        let silent = match self.view.stalling.has(site) {
            true => format!(
                ": its hosts were silent the last time, and all such hosts ({} lists of them) share half of the free connections, one connection \
                 each, until they answer something",
                self.view.stalling.count()
            ),
            false => String::new(),
        };
        ("connection", held(None, format!("it waits for its turn on a connection to {}{silent}", site.provider)))
    }

    /// The first to end of what holds back the lanes that may send a stream's mail to a domain; None: one of them may send.
    fn by_lanes(&mut self, stream: StreamIx, domain: DomainIx) -> Option<Block> {
        if let Some(known) = self.lanes.get(&(stream, domain)) {
            return known.clone();
        }
        let view = self.view;
        let provider = view.backlog.domains().provider(domain);
        let policy = view.stream_policy(stream);
        let sources = self.budget.of_pool(&policy.pool, view.policy);
        let holds = sources.map(|source| {
            let lane = self.budget.governor().find(&LaneKey::new(source.as_str(), provider))?;
            hold(self.budget.governor(), lane, policy.priority, view.now)
        });
        let first = holds.collect::<Option<Vec<Block>>>().and_then(|holds| holds.into_iter().min_by_key(|block| block.at));
        self.lanes.insert((stream, domain), first.clone());
        first
    }
}

/// What a block says.
pub(crate) fn held(block: &Block) -> Held {
    Held { until: Some(block.at).filter(|at| *at < Timestamp::MAX), why: block.wait().detail }
}

/// Why a lane sends nothing now; None: it may send.
pub(crate) fn hold(governor: &Governor, id: LaneId, priority: Priority, now: Timestamp) -> Option<Block> {
    let (at, hold) = governor.blocked(id, priority, now)?;
    let key = governor.lane(id).key();
    let (source, provider) = (Name::new(&key.source).ok(), Name::new(&key.provider).ok()?);
    Some(Block { source, lane: Some(id), provider, at, hold: Some(hold) })
}

/// Why mail waits for the login at a site, which is named by its key.
pub(crate) fn for_login(site: &str) -> String {
    let hosts = site.split('|').next().unwrap_or(site);
    format!("the smart host {hosts} refuses the relay's login, and mail waits for that (see `posthaste alarms`)")
}

/// Why hosts are left alone for a while.
pub(crate) fn left_alone(why: &Unroutable) -> String {
    match &why.failure {
        Failure::Refused { .. } => {
            format!("its hosts refuse the relay's sessions, and nothing is sent to them for a while: {}: {}", why.failure, why.verdict.why)
        }
        Failure::Local { .. } => format!("its hosts could not be reached, and nothing is sent to them for a while: {}", why.failure),
    }
}
