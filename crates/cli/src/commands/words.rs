//! Words that several commands share: one and many, and messages named by a part of their id.

use posthaste_config::Config;
use posthaste_mail::MessageId;
use posthaste_monitor::{MANY, messages_like};
use posthaste_relay::admin::{Request, ask};

/// `1 message`, `2 messages`, `2 entries`: a number and its noun.
pub(crate) fn count(n: impl TryInto<u64>, noun: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    match noun.strip_suffix('y') {
        _ if n == 1 => format!("{n} {noun}"),
        Some(stem) => format!("{n} {stem}ies"),
        None => format!("{n} {noun}s"),
    }
}

/// `1,234,567`: a number that people can read.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

/// The message that `text` names: its id, or a part of it that no other message of the log has.
pub(crate) fn id_like(config: &Config, text: &str) -> anyhow::Result<MessageId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let found = match messages_like(&config.log.dir, text) {
        Err(error) if error.is_denied() => ask(&config.admin.socket, &Request::MessagesLike { part: text.to_owned() })?,
        found => found?,
    };
    match &found[..] {
        [id] => Ok(*id),
        [] => anyhow::bail!("{text:?} is neither a message's id nor a part of one in the delivery log"),
        several => anyhow::bail!("{}", ambiguous(text, several)),
    }
}

/// What to say of a part that several messages have.
pub(crate) fn ambiguous(part: &str, ids: &[MessageId]) -> String {
    let listed: Vec<String> = ids.iter().map(|id| format!("\n  {id}")).collect();
    let more = if ids.len() == MANY { "\n  …" } else { "" };
    format!("{part:?} is in the ids of several messages; give more of it:{}{more}", listed.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        let said = [(0, "message"), (1, "message"), (2, "message"), (1, "entry"), (2, "entry")].map(|(n, noun)| count(n, noun));
        assert_eq!(said, ["0 messages", "1 message", "2 messages", "1 entry", "2 entries"]);
    }
}
