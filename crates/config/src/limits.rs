//! `[limits]`: limits for clients.

use std::time::Duration;

use posthaste_submission::{ClientLimits, UnfitText};

use super::{
    reader::Table,
    value::{GIB, KIB, MIB, duration, number, one_of, size, zero_is_none},
};

const UNFIT_TEXT: [(&str, UnfitText); 3] = [("bounce", UnfitText::Bounce), ("encode", UnfitText::Encode), ("send", UnfitText::Send)];

pub(super) fn read(t: &Table<'_>) -> ClientLimits {
    let wait = |key| t.get(key, duration(Duration::from_secs(1)..=Duration::from_hours(1)));
    let limits = ClientLimits {
        // RFC 5321 §4.5.3.1.7: a server must accept 64 KiB.
        message_size: t.get("message_size", size(64 * KIB..=2 * GIB)),
        // RFC 5321 §4.5.3.1.8: a server must accept 100.
        recipients: t.get("recipients", number(100..=100_000)),
        command_line: t.get("command_line", number(512..=65_536)),
        // RFC 5321 §4.5.3.1.6: a server must accept 998.
        text_line: t.get("text_line", zero_is_none(number(998..=1_000_000_000))),
        unfit_text: t.get("unfit_text", one_of(&UNFIT_TEXT)),
        header_size: t.get("header_size", size(16 * KIB..=16 * MIB)),
        // RFC 5321 §6.3 asks for at least 100; relays in a chain of our own need far fewer.
        received_hops: t.get("received_hops", number(5..=1000)),
        bad_commands: t.get("bad_commands", number(1..=100_000)),
        idle_commands: t.get("idle_commands", number(10..=1_000_000)),
        refusals: t.get("refusals", number(1..=1_000_000)),
        connections: t.get("connections", number(1..=100_000)),
        command_timeout: wait("command_timeout"),
        data_timeout: wait("data_timeout"),
        handshake_timeout: wait("handshake_timeout"),
        session_idle: t.get("session_idle", duration(Duration::from_secs(1)..=Duration::from_hours(48))),
        data_rate: t.get("data_rate", size(1..=GIB)),
        receive_memory: t.get("receive_memory", size(MIB..=64 * GIB)),
        messages_per_connection: t.get("messages_per_connection", zero_is_none(number(1..=10_000_000))),
        queue_messages: t.get("queue_messages", zero_is_none(number(1..=1_000_000_000))),
        future_release: t.get("future_release", zero_is_none(duration(Duration::from_secs(60)..=Duration::from_hours(366 * 24)))),
        body_cache: t.get("body_cache", size(0..=64 * GIB)),
    };
    if limits.header_size > limits.message_size {
        t.object_to(&["header_size", "message_size"], "header_size must not be more than message_size: the header is part of the message");
    }
    if limits.receive_memory < limits.message_size {
        t.object_to(
            &["receive_memory", "message_size"],
            "receive_memory must not be less than message_size: the longest message could never be received",
        );
    }
    limits
}
