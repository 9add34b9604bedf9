//! `[delivery]`: connections to receivers.

use std::{path::PathBuf, time::Duration};

use posthaste_smtp::client::Timeouts;

use super::{
    environment::Environment,
    reader::Table,
    value::{GIB, MIB, duration, list, number, size},
};

/// How many connections are opened to receivers, how long they are kept and how long each step may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The port of a receiver's mail service.
    pub port: u16,
    /// Concurrent connections in all.
    pub connections: usize,
    /// Concurrent connections of one lane (a source at a provider).
    pub connections_per_lane: usize,
    /// Messages over one connection before it is closed.
    pub messages_per_connection: u32,
    /// Recipients of one transaction.
    pub recipients_per_transaction: usize,
    /// Hosts that one attempt offers a message to, at most.
    pub hosts_per_attempt: usize,
    /// Results of attempts that may be not durable in the log yet; with more, no delivery begins.
    pub unlogged_max: usize,
    /// Memory for bodies that are read from the spool to be delivered, in bytes.
    pub body_memory: u64,
    /// How long a receiver may take to let a session in while other mail waits for a connection.
    pub patience: Duration,
    /// How long an idle connection is kept.
    pub idle: Duration,
    /// How long a host that refused a connection or did not answer is skipped.
    pub host_down: Duration,
    /// Files that describe mailbox providers, with their contents; the first has the highest precedence.
    pub providers: Vec<(PathBuf, String)>,
    /// Files of rules for when receivers push back, with their contents; the first has the highest precedence.
    pub feedback: Vec<(PathBuf, String)>,
    /// How long to wait at each step.
    pub timeouts: Timeouts,
}

impl Delivery {
    pub(super) fn read(t: &Table<'_>, environment: &Environment<'_>) -> Self {
        let delivery = Self {
            port: t.get("port", number(1..=u16::MAX)),
            connections: t.get("connections", number(1..=100_000)),
            connections_per_lane: t.get("connections_per_lane", number(1..=10_000)),
            messages_per_connection: t.get("messages_per_connection", number(1..=1_000_000)),
            recipients_per_transaction: t.get("recipients_per_transaction", number(1..=10_000)),
            hosts_per_attempt: t.get("hosts_per_attempt", number(1..=100)),
            unlogged_max: t.get("unlogged_max", number(1..=1_000_000)),
            body_memory: t.get("body_memory", size(MIB..=64 * GIB)),
            patience: t.get("patience", duration(Duration::from_secs(1)..=Duration::from_hours(1))),
            idle: t.get("idle", duration(Duration::ZERO..=Duration::from_secs(300))),
            host_down: t.get("host_down", duration(Duration::ZERO..=Duration::from_hours(24))),
            providers: t.get("providers", list(|item| environment.text_file(item))),
            feedback: t.get("feedback", list(|item| environment.text_file(item))),
            timeouts: t.table("timeouts", timeouts),
        };
        if delivery.connections_per_lane > delivery.connections {
            let (lane, all) = (delivery.connections_per_lane, delivery.connections);
            t.object_to(
                &["connections_per_lane", "connections"],
                format!("connections_per_lane is {lane} and connections is {all}: one lane cannot have more than all lanes together"),
            );
        }
        delivery
    }
}

fn timeouts(t: &Table<'_>) -> Timeouts {
    let wait = |key| t.get(key, duration(Duration::from_millis(100)..=Duration::from_hours(1)));
    Timeouts {
        connect: wait("connect"),
        banner: wait("banner"),
        ehlo: wait("ehlo"),
        starttls: wait("starttls"),
        mail: wait("mail"),
        rcpt: wait("rcpt"),
        data: wait("data"),
        block: wait("block"),
        dot: wait("dot"),
        rset: wait("rset"),
        quit: wait("quit"),
    }
}
