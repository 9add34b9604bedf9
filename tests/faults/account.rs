//! The account at the end of a life: everything that was acknowledged has had one end, and the end that is right.

use std::collections::{HashMap, HashSet};

use crate::{
    life::{CAP, Figures, Life},
    load::FROM,
    receiver::{Kind, kind, serial},
    stories::{self, Story},
};

impl Life {
    /// Everything that was acknowledged has had one end, and the end that is right.
    pub(crate) fn account(mut self, acknowledged: &HashSet<usize>) -> Figures {
        let status = self.relay.stop();
        assert!(status.success(), "SIGTERM at the end: {status}\n{}", self.relay.stderr());
        let (stories, taken) = (stories::read(&self.log()), self.receiver.taken());
        let notices = self.noticed();
        let mut wrong: Vec<String> = acknowledged.iter().filter_map(|s| self.wrong_with(*s, stories.get(s), &taken, &notices)).collect();
        wrong.extend(
            stories.iter().filter(|(_, s)| s.accepted > 1 || s.endings.len() > 1 || s.late > 1).map(|(s, story)| format!("{s}: {story:?}")),
        );
        wrong.extend(self.unrecorded_returns(&stories));
        let unanswered = self.receiver.unanswered();
        for (serial, times) in &taken {
            let allowed = 1 + self.allowed.get(serial).copied().unwrap_or(0) + usize::from(unanswered.contains(serial));
            if *times > allowed {
                wrong.push(format!("{serial} arrived {times} times, {allowed} at most: {:?}", stories.get(serial)));
            }
            self.figures.duplicates += times - 1;
        }
        wrong.extend(self.over_caps());
        if !wrong.is_empty() {
            let first = wrong.iter().filter_map(|what| what.split([' ', ':']).next()?.parse().ok()).take(4).collect();
            let (told, said) = (stories::lines_about(&self.log(), &first), self.relay.stderr());
            panic!("{} things are wrong: {:#?}\n{told}\n{said}", wrong.len(), &wrong[..wrong.len().min(12)]);
        }
        self.audit();
        self.figures.acknowledged = acknowledged.len();
        self.figures.returned = self.returns.taken().count();
        self.figures
    }

    fn wrong_with(&self, serial: usize, story: Option<&Story>, taken: &HashMap<usize, usize>, notices: &HashSet<usize>) -> Option<String> {
        let story = story.cloned().unwrap_or_default();
        let say = |what: &str| Some(format!("{serial} ({:?}) {what}: {story:?}", kind(serial)));
        let Some(end) = story.endings.first() else {
            return if self.forgotten.contains(&serial) { None } else { say("was acknowledged and has no end") };
        };
        let right: &[&str] = match kind(serial) {
            Kind::Good | Kind::Later(_) | Kind::Unanswered => &["delivered"],
            Kind::Gone => &["bounced"],
            Kind::Unwanted => &["suppressed"],
            Kind::Warm => &["delivered", "cancelled"],
        };
        let has = taken.contains_key(&serial);
        match end.as_str() {
            _ if story.accepted != 1 && self.figures.gaps == 0 => say("was acknowledged and is not accepted once"),
            end if !right.contains(&end) => say("ended wrongly"),
            "delivered" if !has => say("is said to be delivered and did not arrive"),
            "suppressed" if has => say("was suppressed and arrived"),
            "bounced" if !notices.contains(&serial) => say("bounced, and nobody was told"),
            _ => None,
        }
    }

    /// Bounces that were taken and are not in the log once.
    fn unrecorded_returns(&self, stories: &HashMap<usize, Story>) -> Vec<String> {
        if self.figures.gaps > 0 {
            return Vec::new();
        }
        let silent = |serial: &usize| stories.get(serial).is_none_or(|story| story.late != 1);
        self.returns
            .taken()
            .filter(silent)
            .map(|s| format!("{s}: its bounce was taken and is not in the log: {:?}", stories.get(&s)))
            .collect()
    }

    /// The recipients that a notice was about.
    fn noticed(&self) -> HashSet<usize> {
        self.receiver.mx.look(|all| {
            let notices = all.iter().filter(|t| t.taken && t.rcpts == [FROM]).map(|t| String::from_utf8_lossy(&t.data).into_owned());
            let about = |text: &String| -> Vec<usize> {
                text.lines().filter_map(|line| serial(line.strip_prefix("Final-Recipient: rfc822; ")?)).collect()
            };
            notices.flat_map(|text| about(&text)).collect()
        })
    }

    /// Days on which more went out than their cap.
    fn over_caps(&self) -> Vec<String> {
        let days = stories::by_day(&self.log());
        let mut wrong: Vec<String> =
            days.iter().filter(|(_, count)| **count > CAP).map(|(day, count)| format!("{count} on {day}, of {CAP}")).collect();
        // What the receiver counts includes what was sent twice.
        let peer = |t: &support::Transaction| t.taken && t.peer.is_some_and(|p| p.ip().to_string() == "127.0.0.2");
        let arrived = self.receiver.mx.look(|all| all.iter().filter(|t| peer(t)).count());
        let most = CAP * (3 + usize::try_from((self.clock.1 - self.clock.0) / 86_400).expect("the clock's range is positive"));
        if arrived > most {
            wrong.push(format!("{arrived} arrived from the source that warms up, {most} at most: {days:?}"));
        }
        wrong
    }

    /// The log accounts for everything, or says that it cannot.
    fn audit(&mut self) {
        if self.power_cut || self.figures.gaps > 0 {
            // Not each of its lines is whole.
            self.relay.spoilt();
        }
        if self.figures.gaps == 0 {
            self.relay.assert_balanced();
            return;
        }
        if self.figures.gaps == self.overwritten {
            return;
        }
        let out = self.relay.cli(["audit"]);
        // Lines that were not durable are written again, and then nothing is missing.
        let stories = stories::read(&self.log());
        let is_missing = |serial: &&usize| stories.get(serial).is_none_or(|story| story.endings.is_empty());
        if let Some(missing) = self.forgotten.iter().find(is_missing) {
            assert!(!out.status.success(), "{missing} is missing, and the audit says {}", support::relay::text(&out.stdout));
        }
    }
}
