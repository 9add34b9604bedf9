//! Whether receivers can be reached at all. Many networks, those of cloud hosts above all, swallow connections to port 25.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use posthaste_journal::{Finding, Part};
use posthaste_mail::{Failure, LocalCause, Name, Stage};

/// How many providers have to be silent, and none reached, before the network is blamed: two may be down at the same time.
const SILENT_PROVIDERS: usize = 3;

/// The alarm about a network that swallows all connections, and its key.
pub(crate) const ALARM: (&str, &str) = ("port_blocked", "25");
/// What to do about it.
const REMEDY: &str = "Ask the host to open it, or send through a smart host: [route] \"*\" in the configuration";

/// What the operator should hear.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReachNews {
    /// No receiver can be reached: what is wrong.
    Blocked(String),
    /// One was reached, the first since the start.
    Open,
}

impl ReachNews {
    /// The alarm about it.
    pub(crate) fn finding(what: String) -> Finding {
        Finding { rule: ALARM.0, key: ALARM.1.into(), part: Some(Part::Delivery), what, remedy: REMEDY.into() }
    }
}

/// What connections came to since the start.
#[derive(Default)]
pub struct Reach(Mutex<Reached>);

#[derive(Default)]
struct Reached {
    /// A receiver has let a session in, or has answered in some way.
    any: bool,
    /// The providers whose hosts did not answer at all.
    silent: BTreeSet<Name>,
}

impl Reach {
    /// A receiver let a session in. `fixed`: the operator's own route led there, perhaps to a host in this network; that says nothing about the
    /// way out.
    pub(crate) fn reached(&self, fixed: bool) -> Option<ReachNews> {
        self.lock().answered(!fixed)
    }

    /// A session could not be opened. Returns what the operator should hear, once.
    pub(crate) fn failed(&self, failure: &Failure, provider: &Name, fixed: bool) -> Option<ReachNews> {
        let swallowed = matches!(failure, Failure::Local { cause: LocalCause::ConnectTimeout, .. });
        let mut reached = self.lock();
        let open = reached
            .answered(!fixed && (matches!(failure, Failure::Refused { .. }) || !matches!(failure.stage(), Stage::Dns | Stage::Connect)));
        let is_new = swallowed && reached.silent.len() < SILENT_PROVIDERS && reached.silent.insert(provider.clone());
        drop(reached);
        open.or_else(|| self.silence().filter(|_| is_new).map(ReachNews::Blocked))
    }

    /// What to say while no receiver can be reached; None: some can, or too little is known.
    pub fn blocked(&self) -> Option<String> {
        self.silence().map(|what| format!("{what}. {REMEDY}"))
    }

    fn silence(&self) -> Option<String> {
        let reached = self.lock();
        (!reached.any && reached.silent.len() >= SILENT_PROVIDERS).then(|| {
            let silent: Vec<&str> = reached.silent.iter().map(Name::as_str).collect();
            format!(
                "no connection to a receiver that DNS names has worked since the start, and those to {} were swallowed without an answer: this \
                 network probably blocks port 25 outwards, as most cloud hosts do",
                silent.join(", ")
            )
        })
    }

    fn lock(&self) -> MutexGuard<'_, Reached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reached {
    /// Whether a receiver has answered for the first time.
    fn answered(&mut self, is_answer: bool) -> Option<ReachNews> {
        let is_first = is_answer && !self.any;
        self.any |= is_answer;
        is_first.then_some(ReachNews::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(cause: LocalCause, stage: Stage) -> Failure {
        Failure::Local { stage, cause, detail: String::new() }
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn the_third_provider_that_swallows_is_told_once_and_an_answer_ends_it() {
        let reach = Reach::default();
        let silent = local(LocalCause::ConnectTimeout, Stage::Connect);
        assert_eq!(reach.failed(&silent, &name("google"), false), None);
        assert_eq!(reach.failed(&silent, &name("google"), false), None);
        assert_eq!(reach.failed(&silent, &name("yahoo"), false), None);
        assert_eq!(reach.reached(true), None);
        assert!(matches!(reach.failed(&silent, &name("microsoft"), false), Some(ReachNews::Blocked(said)) if said.contains("port 25")));
        assert!(reach.blocked().is_some_and(|said| said.contains("[route]")));
        assert_eq!(reach.failed(&silent, &name("apple"), false), None, "once");
        assert!(reach.blocked().is_some());
        assert_eq!(reach.failed(&local(LocalCause::Timeout, Stage::Banner), &name("apple"), false), Some(ReachNews::Open));
        assert_eq!(reach.blocked(), None, "somebody answered the connection");
    }

    #[test]
    fn a_network_in_which_anybody_answered_is_not_blamed() {
        let reach = Reach::default();
        assert_eq!(reach.reached(false), Some(ReachNews::Open));
        let silent = local(LocalCause::ConnectTimeout, Stage::Connect);
        let told = ["google", "yahoo", "microsoft", "apple"].map(|provider| reach.failed(&silent, &name(provider), false));
        assert_eq!(told, [None, None, None, None]);
    }
}
