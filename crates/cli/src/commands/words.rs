//! Words that several commands share: one and many, and messages named by a part of their id.

use anyhow::Context as _;
use posthaste_config::Config;
use posthaste_mail::{Address, Domain, MessageId};
use posthaste_monitor::{MANY, messages_named};
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

/// A domain as an operator writes it; an internationalised one becomes its A-labels.
pub(crate) fn domain(text: &str) -> Result<Domain, String> {
    Domain::international(text).map_err(|error| error.to_string())
}

/// An address as an operator writes it; its domain may be internationalised.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    Address::international(text).map_err(|error| error.to_string())
}

/// A domain or address as the log and the queue have it: an internationalised domain is in A-labels there.
pub(crate) fn as_logged(text: &str) -> Result<String, String> {
    match text {
        ascii if ascii.is_ascii() => Ok(ascii.to_owned()),
        text if text.contains('@') => address(text).map(|address| address.to_string()),
        text => domain(text).map(|domain| domain.to_string()),
    }
}

/// The message that `text` names: by its id, a part of it that no other message of the log has, or its Message-ID.
pub(crate) fn id_like(config: &Config, text: &str) -> anyhow::Result<MessageId> {
    let named = message_named(config, text)?;
    named.with_context(|| format!("{text:?} is neither a message's id, nor a part of one, nor a Message-ID in the delivery log"))
}

/// The same; None if it names none.
pub(crate) fn message_named(config: &Config, text: &str) -> anyhow::Result<Option<MessageId>> {
    if let Ok(id) = text.parse() {
        return Ok(Some(id));
    }
    let found = match messages_named(&config.log.dir, text) {
        Err(error) if error.is_denied() => ask(&config.admin.socket, &Request::MessagesNamed { text: text.to_owned() })?,
        found => found?,
    };
    match &found[..] {
        [] => Ok(None),
        [id] => Ok(Some(*id)),
        several => anyhow::bail!("{}", ambiguous(text, several)),
    }
}

/// What to say of a part that several messages have.
pub(crate) fn ambiguous(part: &str, ids: &[MessageId]) -> String {
    let listed: Vec<String> = ids.iter().map(|id| format!("\n  {id}")).collect();
    let more = if ids.len() == MANY { "\n  …" } else { "" };
    format!("{part:?} names several messages; give more of the id:{}{more}", listed.concat())
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
