//! One message to one channel.

use crate::{Change, Notification, Severity};

/// What is sent to a channel at once: word of one incident, or of all that wait if there are many of them (a storm).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The news, the most severe first. Not empty.
    pub news: Vec<Notification>,
    /// The thread to which news of an open incident belongs: the id of the incident, or for a storm one that all its incidents share.
    pub thread: String,
    /// Threads all of whose incidents are over with this message.
    pub over: Vec<String>,
    /// Incidents that are not among the news, because too many waited.
    pub left_out: usize,
}

impl Message {
    /// The most news that a message lists; the rest is counted.
    pub const LISTED_MAX: usize = 20;

    /// A message with a single piece of news.
    pub fn one(news: Notification) -> Self {
        let thread = news.incident.clone();
        let over = if news.change == Change::Closed { vec![thread.clone()] } else { Vec::new() };
        Self { news: vec![news], thread, over, left_out: 0 }
    }

    /// The news that is listed.
    pub fn listed(&self) -> &[Notification] {
        &self.news[..self.news.len().min(Self::LISTED_MAX)]
    }

    /// How much news is only counted.
    pub fn more(&self) -> usize {
        self.news.len() - self.listed().len() + self.left_out
    }

    /// The worst that is told: how urgent the message is. What is over is not urgent.
    pub fn severity(&self) -> Severity {
        self.open().map(|news| news.severity).max().unwrap_or(Severity::Warn)
    }

    /// The news of incidents that are not over.
    pub fn open(&self) -> impl Iterator<Item = &Notification> {
        self.news.iter().filter(|news| news.change != Change::Closed)
    }

    /// Whether all that is told is over.
    pub fn is_all_over(&self) -> bool {
        self.open().next().is_none()
    }
}
