//! What sessions with receivers are doing at the moment, for operators who ask what a recipient waits for.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use posthaste_mail::Stage;
use posthaste_queue::{DeliveryJob, SessionId};
use posthaste_smtp::client::Watch;

/// A session that has been open for this long with a job is worth a line: most are over sooner.
const SLOW: Duration = Duration::from_secs(5);

/// The sessions that have a job, by their numbers.
#[derive(Default)]
pub struct UnderWay(Mutex<HashMap<SessionId, Doing>>);

struct Doing {
    seq: u64,
    rcpts: Vec<u16>,
    connection: Option<Connection>,
}

#[derive(Clone)]
struct Connection {
    host: Arc<str>,
    ip: IpAddr,
    began: Instant,
    /// The longest that it takes to connect.
    limit: Duration,
    /// None until it is connected.
    connected: Option<(Instant, Arc<Watch>)>,
}

impl UnderWay {
    /// A session has this job now; until the guard is dropped.
    pub(crate) fn begin(&self, id: SessionId, job: &DeliveryJob) -> Guard<'_> {
        self.lock().insert(id, Doing { seq: job.seq, rcpts: job.rcpts.clone(), connection: None });
        Guard { all: self, id }
    }

    /// What the session with this recipient is doing, as the end of a sentence; None: no session has it.
    pub fn of(&self, seq: u64, rcpt: u16, now: Instant) -> Option<String> {
        let all = self.lock();
        let doing = all.values().find(|doing| doing.seq == seq && doing.rcpts.contains(&rcpt))?;
        Some(doing.connection.as_ref().map_or_else(|| "a session begins".to_owned(), |connection| connection.says(now)))
    }

    /// What the sessions are doing that have been at it for a while, those the longest first: at most `most`.
    pub fn slow(&self, most: usize, now: Instant) -> Vec<String> {
        let all = self.lock();
        let slow =
            |doing: &Doing| now.saturating_duration_since(doing.connection.as_ref().map_or(now, |connection| connection.began)) >= SLOW;
        let mut slow: Vec<&Connection> =
            all.values().filter(|doing| !doing.rcpts.is_empty() && slow(doing)).filter_map(|doing| doing.connection.as_ref()).collect();
        slow.sort_by_key(|connection| connection.began);
        slow.into_iter().take(most).map(|connection| connection.says(now)).collect()
    }

    /// A session connects.
    pub(crate) fn connecting(&self, id: SessionId, host: &Arc<str>, ip: IpAddr, began: Instant, limit: Duration) {
        let connection = Connection { host: host.clone(), ip, began, limit, connected: None };
        self.change(id, |doing| doing.connection = Some(connection));
    }

    /// A session is connected, and `watch` sees what it waits for.
    pub(crate) fn connected(&self, id: SessionId, at: Instant, watch: &Arc<Watch>) {
        let connected = Some((at, watch.clone()));
        self.change(id, |doing| doing.connection.iter_mut().for_each(|connection| connection.connected = connected.clone()));
    }

    fn change(&self, id: SessionId, change: impl FnOnce(&mut Doing)) {
        if let Some(doing) = self.lock().get_mut(&id) {
            change(doing);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Doing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn says(&self, now: Instant) -> String {
        let (host, ip) = (&self.host, self.ip);
        let ago = |then: Instant| short(now.saturating_duration_since(then));
        let Some((connected, watch)) = &self.connected else {
            return format!("connecting to {host} [{ip}] for {} ({} at most)", ago(self.began), short(self.limit));
        };
        let waits = watch.waits().map(|(stage, since, limit)| {
            let so_far = if since > *connected + Duration::from_secs(1) { format!(" for {}", ago(since)) } else { String::new() };
            format!(", waiting for {}{so_far} ({} at most)", awaited(stage), short(limit))
        });
        format!("connected to {host} [{ip}] {} ago{}", ago(*connected), waits.unwrap_or_default())
    }
}

/// What the receiver owes at a stage.
fn awaited(stage: Stage) -> &'static str {
    match stage {
        Stage::Banner => "its greeting",
        Stage::Ehlo => "its answer to EHLO",
        Stage::Starttls => "its answer to STARTTLS",
        Stage::Auth => "its answer to the login",
        Stage::Mail => "its answer to MAIL FROM",
        Stage::Rcpt => "its answer to RCPT TO",
        Stage::Data => "its answer to DATA",
        Stage::Dot => "its answer to the message",
        _ => "its answer",
    }
}

/// `12 s`, `5 m`, `2 h`
fn short(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..=99 => format!("{s} s"),
        s @ 100..=5999 => format!("{} m", s / 60),
        s => format!("{} h", s / 3600),
    }
}

/// A session that has a job.
pub(crate) struct Guard<'a> {
    all: &'a UnderWay,
    id: SessionId,
}

impl Guard<'_> {
    /// The session has another job now, over the same connection.
    pub(crate) fn job(&self, job: &DeliveryJob) {
        self.all.change(self.id, |doing| (doing.seq, doing.rcpts) = (job.seq, job.rcpts.clone()));
    }

    /// The session waits for another job.
    pub(crate) fn idle(&self) {
        self.all.change(self.id, |doing| doing.rcpts.clear());
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use posthaste_host::clock;

    use super::*;

    #[test]
    fn a_silent_host_is_told_with_the_time_and_the_limit() {
        let began = clock::instant();
        let at = |s| began + Duration::from_secs(s);
        let watch = Arc::new(Watch::new(clock::instant));
        let mut connection =
            Connection { host: "mx.example.org".into(), ip: [192, 0, 2, 1].into(), began, limit: Duration::from_secs(30), connected: None };
        assert_eq!(connection.says(at(7)), "connecting to mx.example.org [192.0.2.1] for 7 s (30 s at most)");
        connection.connected = Some((at(1), watch.clone()));
        assert_eq!(connection.says(at(13)), "connected to mx.example.org [192.0.2.1] 12 s ago");
        watch.at(Stage::Banner, Duration::from_secs(300), at(1));
        let said = connection.says(at(13));
        assert_eq!(said, "connected to mx.example.org [192.0.2.1] 12 s ago, waiting for its greeting (5 m at most)");
        watch.at(Stage::Rcpt, Duration::from_secs(300), at(9));
        assert!(connection.says(at(13)).ends_with("12 s ago, waiting for its answer to RCPT TO for 4 s (5 m at most)"));
    }
}
