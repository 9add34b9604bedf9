//! Which alarms stand, and what is remembered so that none is raised twice. Pure.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Part;

/// Something is missing or damaged, and an operator has to know.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The kind of finding, such as `segment_missing`.
    pub rule: &'static str,
    /// What it is about. The same rule and key are raised once, even if they are found again at each start.
    pub key: String,
    /// The part concerned.
    pub part: Option<Part>,
    /// What is wrong, in words.
    pub what: String,
    /// What to do, as a sentence without its full stop.
    pub remedy: String,
}

/// An alarm that stands until an operator acknowledges it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingAlarm {
    /// Its number; `posthaste alarms acknowledge` takes it.
    pub id: u64,
    /// The kind of finding.
    pub rule: String,
    /// What it is about.
    pub key: String,
    /// The part concerned, as the log calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// When it was raised.
    pub since: Timestamp,
    /// What is wrong, in words.
    pub what: String,
    /// What to do; empty where the other text says it.
    pub remedy: String,
    /// It ends by itself once that is mended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mends: bool,
}

/// All that stands at present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingNow {
    /// The alarms, the oldest first.
    pub alarms: Vec<StandingAlarm>,
    /// How many were raised beyond those that are kept one by one.
    #[serde(default)]
    pub more: u64,
}

/// What an operator has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The alarms' ids.
    pub ids: Vec<u64>,
    /// How many alarms without an id of their own were acknowledged with them.
    pub more: u64,
    /// Ids that were given and stand for no alarm.
    pub unknown: Vec<u64>,
    /// Who did it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// The state that the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    v: u64,
    /// The id of the next alarm.
    next: u64,
    alarms: Vec<StandingAlarm>,
    #[serde(default)]
    more: u64,
    /// What was raised, as `rule key`, the newest last; acknowledged or not.
    #[serde(default)]
    known: VecDeque<String>,
    /// What was acknowledged while no relay ran.
    #[serde(default)]
    untold: Vec<Acknowledgement>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { v: Self::VERSION, next: 1, alarms: Vec::new(), more: 0, known: VecDeque::new(), untold: Vec::new() }
    }
}

impl Standing {
    /// The version of what [`Self::to_bytes`] writes.
    pub(super) const VERSION: u64 = 1;

    /// Reads the file's content.
    ///
    /// # Errors
    /// The version, if it is another one, or `none`; None if the content is no JSON, or not what this version writes: then it is damaged.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Option<String>> {
        /// What a file of any version has.
        #[derive(Deserialize)]
        struct Any {
            v: Option<serde_json::Value>,
        }
        match serde_json::from_slice(bytes) {
            Ok(Any { v: Some(v) }) if v == Self::VERSION => serde_json::from_slice(bytes).ok().filter(Self::is_sound).ok_or(None),
            Ok(Any { v }) => Err(Some(v.map_or_else(|| "none".to_owned(), |v| v.to_string()))),
            Err(_) => Err(None),
        }
    }

    /// Whether its numbers are such as this version writes: what damage made of them could not be counted on.
    fn is_sound(&self) -> bool {
        const MOST: u64 = 1 << 53;
        self.next <= MOST && self.more <= MOST && self.alarms.iter().all(|alarm| alarm.id < self.next)
    }

    /// The id of the next alarm.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Gives no id below this one any more.
    pub(super) fn skip_to(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// Gives what stands ids from this one on, unless higher ones were given.
    pub(super) fn renumber_from(&mut self, next: u64) {
        self.skip_to(next);
        for (id, alarm) in (next..).zip(&mut self.alarms) {
            (alarm.id, self.next) = (alarm.id.max(id), self.next.max(id + 1));
        }
    }

    /// The file's content.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("alarms are plain data")
    }

    /// The alarms that stand.
    pub(super) fn now(&self) -> StandingNow {
        StandingNow { alarms: self.alarms.clone(), more: self.more }
    }

    /// Raises what is not known yet; returns the new alarms that have an id of their own. `mends`: they end once they are mended.
    pub(super) fn raise(&mut self, findings: Vec<Finding>, mends: bool, now: Timestamp) -> Vec<StandingAlarm> {
        let mut raised = Vec::new();
        for Finding { rule, key, part, what, remedy } in findings {
            let known = format!("{rule} {key}");
            if self.known.contains(&known) {
                continue;
            }
            self.known.push_back(known);
            self.known.drain(..self.known.len().saturating_sub(KNOWN_MAX));
            if self.alarms.len() >= ALARMS_MAX {
                self.more += 1;
                continue;
            }
            let (id, part) = (self.next, part.map(|part| part.as_str().to_owned()));
            self.next += 1;
            let alarm = StandingAlarm { id, rule: rule.to_owned(), key, part, since: now, what, remedy, mends };
            self.alarms.push(alarm.clone());
            raised.push(alarm);
        }
        raised
    }

    /// Gives the alarm that stands by this rule about this key the finding's words.
    pub(super) fn reword(&mut self, finding: &Finding) -> Option<StandingAlarm> {
        let alarm = self.alarms.iter_mut().find(|alarm| alarm.rule == finding.rule && alarm.key == finding.key)?;
        (alarm.what, alarm.remedy) = (finding.what.clone(), finding.remedy.clone());
        Some(alarm.clone())
    }

    /// Ends what was raised by this rule about this key, or about anything: it is mended, and is raised again if it is found again. Returns whether
    /// there was such a thing, and the ids of the alarms that still stood.
    pub(super) fn mend(&mut self, rule: &str, key: Option<&str>) -> Option<Vec<u64>> {
        // Each delivery through a smart host asks: it is nearly always in vain, and costs no allocation then.
        let of = |known: &str| {
            known.strip_prefix(rule).and_then(|rest| rest.strip_prefix(' ')).is_some_and(|rest| key.is_none_or(|key| rest == key))
        };
        let is_it = |alarm: &StandingAlarm| alarm.rule == rule && key.is_none_or(|key| alarm.key == key);
        if !self.known.iter().any(|known| of(known)) && !self.alarms.iter().any(is_it) {
            return None;
        }
        self.known.retain(|known| !of(known));
        let ids: Vec<u64> = self.alarms.iter().filter(|alarm| is_it(alarm)).map(|alarm| alarm.id).collect();
        self.alarms.retain(|alarm| !is_it(alarm));
        Some(ids)
    }

    /// Ends the alarms with these ids, or all of them and the sum of the others.
    pub(super) fn acknowledge(&mut self, ids: Option<&[u64]>, by: &str, at: Timestamp) -> Acknowledgement {
        let named = |alarm: &StandingAlarm| ids.is_none_or(|ids| ids.contains(&alarm.id));
        let done: Vec<u64> = self.alarms.iter().filter(|alarm| named(alarm)).map(|alarm| alarm.id).collect();
        let unknown = ids.unwrap_or_default().iter().copied().filter(|id| !done.contains(id)).collect();
        self.alarms.retain(|alarm| !named(alarm));
        let more = if ids.is_none() { std::mem::take(&mut self.more) } else { 0 };
        Acknowledgement { ids: done, more, unknown, by: by.to_owned(), at }
    }

    /// See [`Alarms::tell_later`](super::Alarms::tell_later).
    pub(super) fn tell_later(&mut self, acknowledgement: Acknowledgement) {
        self.untold.push(acknowledgement);
        self.untold.drain(..self.untold.len().saturating_sub(ALARMS_MAX));
    }

    pub(super) fn take_untold(&mut self) -> Vec<Acknowledgement> {
        std::mem::take(&mut self.untold)
    }
}

impl StandingAlarm {
    /// The alarm as a line of the log tells it: when it is raised, or `again` at a start.
    pub fn line(&self, again: bool) -> String {
        let Self { id, since, what, remedy, mends, .. } = self;
        let still = if again { format!("still stands since {since:.0}: ") } else { String::new() };
        let remedy = if remedy.is_empty() { String::new() } else { format!(" {remedy}.") };
        let or = if *mends { "that is mended, or " } else { "" };
        format!("{still}{what}.{remedy} It stands until {or}`posthaste alarms acknowledge {id}`")
    }
}

impl Acknowledgement {
    /// The lines of the log, each with the alarm's number if it has one.
    pub fn lines(&self) -> Vec<(Option<u64>, String)> {
        let Self { ids, more, by, at, .. } = self;
        let numbered = ids.iter().map(|id| (Some(*id), format!("alarm {id} was acknowledged by {by} at {at:.0}")));
        let summed = (*more > 0).then(|| (None, format!("{more} alarms without a number were acknowledged by {by} at {at:.0}")));
        numbered.chain(summed).collect()
    }
}

/// The most alarms that are kept one by one: more than anybody reads, and few enough to say them all at each start.
const ALARMS_MAX: usize = 100;
/// So many findings are remembered after they were raised. If there are more, the oldest of them may be raised again at a later start.
const KNOWN_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_findings_is_summed_and_each_is_counted_once() {
        let findings = |range: std::ops::Range<u32>| {
            let finding =
                |n: u32| Finding { rule: "message_damaged", key: n.to_string(), part: None, what: String::new(), remedy: String::new() };
            range.map(finding).collect::<Vec<_>>()
        };
        let mut standing = Standing::default();
        assert_eq!(standing.raise(findings(0..1_000), false, Timestamp::UNIX_EPOCH).len(), ALARMS_MAX);
        assert_eq!(standing.raise(findings(0..1_000), false, Timestamp::UNIX_EPOCH), [], "found again at the next start");
        assert_eq!((standing.now().alarms.len(), standing.now().more), (100, 900));
        standing.raise(findings(1_000..5_000), false, Timestamp::UNIX_EPOCH);
        assert!(standing.to_bytes().len() < 128 << 10, "{}", standing.to_bytes().len());
        let said = standing.acknowledge(None, "ann", Timestamp::UNIX_EPOCH);
        assert_eq!((said.ids.len(), said.more), (100, 4_900));
        assert_eq!(standing.now(), StandingNow::default());
        assert_eq!((said.lines().len(), said.lines().pop().map(|(id, _)| id)), (101, Some(None)));
        assert_eq!(standing.acknowledge(None, "ann", Timestamp::UNIX_EPOCH).lines(), []);
    }

    #[test]
    fn numbers_that_no_version_writes_are_damage() {
        let file = |next: u64, more: u64| format!(r#"{{"v":1,"next":{next},"alarms":[],"more":{more}}}"#);
        assert!(Standing::from_bytes(file(7, 0).as_bytes()).is_ok());
        for (next, more) in [(u64::MAX, 0), (1, u64::MAX)] {
            assert_eq!(Standing::from_bytes(file(next, more).as_bytes()), Err(None));
        }
    }

    #[test]
    fn its_lines_say_what_to_do() {
        let finding =
            Finding { rule: "log_gap", key: "1".into(), part: Some(Part::Log), what: "It is gone".into(), remedy: "Bring it back".into() };
        let mut standing = Standing::default();
        let alarm = standing.raise(vec![finding], false, Timestamp::UNIX_EPOCH).remove(0);
        assert_eq!(alarm.line(false), "It is gone. Bring it back. It stands until `posthaste alarms acknowledge 1`");
        assert!(alarm.line(true).starts_with("still stands since 1970-01-01T00:00:00Z: It is gone. "), "{}", alarm.line(true));
        let lines = standing.acknowledge(Some(&[1]), "ann", Timestamp::UNIX_EPOCH).lines();
        assert_eq!(lines, [(Some(1), "alarm 1 was acknowledged by ann at 1970-01-01T00:00:00Z".to_owned())]);
    }

    #[test]
    fn what_is_mended_ends_and_may_begin_again_and_what_is_acknowledged_does_not_come_back_before_it_is_mended() {
        let down = || Finding { rule: "route_login", key: "smart".into(), part: None, what: "It refuses".into(), remedy: String::new() };
        let mut standing = Standing::default();
        let raise = |standing: &mut Standing| standing.raise(vec![down()], true, Timestamp::UNIX_EPOCH).len();
        assert_eq!((raise(&mut standing), raise(&mut standing)), (1, 0));
        assert!(standing.reword(&Finding { what: "Still".into(), ..down() }).is_some() && standing.now().alarms[0].what == "Still");
        assert_eq!(standing.mend("route_login", Some("other")), None);
        assert_eq!(standing.mend("route_login", Some("smart")), Some(vec![1]));
        assert_eq!((standing.mend("route_login", Some("smart")), standing.now()), (None, StandingNow::default()));
        assert_eq!(raise(&mut standing), 1);
        let line = standing.now().alarms[0].line(false);
        assert_eq!(line, "It refuses. It stands until that is mended, or `posthaste alarms acknowledge 2`");
        standing.acknowledge(None, "ann", Timestamp::UNIX_EPOCH);
        assert_eq!(raise(&mut standing), 0, "the operator knows");
        assert_eq!(standing.mend("route_login", None), Some(vec![]));
        assert_eq!(raise(&mut standing), 1);
    }
}
