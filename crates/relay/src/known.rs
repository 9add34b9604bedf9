//! What the last start or reload knew of files that the relay reads and that nothing else accounts for: the users, and the secrets of reverse-paths.
//! What is gone since is said at the start.

use jiff::Timestamp;
use posthaste_journal::{Finding, Part};
use posthaste_spool::Spool;
use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// The spool's key for it.
const KNOWN: &[u8] = b"known/start";
/// So many users are remembered, and so many names are said.
const USERS_MAX: usize = 10_000;
const NAMED_MAX: usize = 10;

/// The value of [`KNOWN`], in JSON. Later versions only add fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    users: Vec<String>,
    /// [`posthaste_verp::VerpSecret::mark`] of each.
    secrets: Vec<String>,
}

/// What is gone.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// Alarms that stand.
    pub(crate) losses: Vec<Finding>,
    /// What may be intended, in words.
    pub(crate) said: Option<String>,
}

/// Remembers what these settings hold.
pub(crate) fn note(spool: &Spool, settings: &Settings) {
    let (before, mut now) = (read(spool), of(settings));
    if now.secrets.is_empty() {
        // Without bounce domains nobody reads the file.
        now.secrets.clone_from(&before.secrets);
    }
    if now != before {
        spool.put(KNOWN, &serde_json::to_vec(&now).expect("names are plain data"));
    }
}

/// What was there at the last start or reload, and is not in these settings.
pub(crate) fn missing(spool: &Spool, settings: &Settings, now: Timestamp) -> Missing {
    compare(&read(spool), &of(settings), &settings.config.users_file.display().to_string(), now)
}

fn compare(before: &Known, after: &Known, users_file: &str, now: Timestamp) -> Missing {
    let mut missing = Missing::default();
    let gone: Vec<&str> = before.users.iter().filter(|name| !after.users.contains(name)).map(String::as_str).collect();
    let named = gone.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    let and_more = if gone.len() > NAMED_MAX { format!(" and {} more", gone.len() - NAMED_MAX) } else { String::new() };
    let finding = |rule, part, what, remedy: &str| Finding { rule, key: now.as_second().to_string(), part, what, remedy: remedy.into() };
    if !gone.is_empty() && after.users.is_empty() {
        let what = format!("there are no users any more, neither in the configuration nor in {users_file}; there were {named}{and_more}");
        missing.losses.push(finding("users_gone", None, what, "If they are still wanted, put the file back, and reload"));
    } else if !gone.is_empty() {
        missing.said = Some(format!(
            "users who were there at the last start are gone: {named}{and_more}. If nobody removed them, put {users_file} back"
        ));
    }
    if !after.secrets.is_empty() && before.secrets.iter().any(|mark| !after.secrets.contains(mark)) {
        let what = "a secret that signed reverse-paths is not in verp.secret any more: bounces and reports that come back to mail sent with it are \
                    refused"
            .to_owned();
        missing.losses.push(finding(
            "verp_secret_gone",
            Some(Part::Returns),
            what,
            "Put its line back below the newest one, if you have a copy",
        ));
    }
    missing
}

fn read(spool: &Spool) -> Known {
    spool.get(KNOWN).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn of(settings: &Settings) -> Known {
    let users = settings.config.users.keys().take(USERS_MAX).map(ToString::to_string).collect();
    Known { users, secrets: settings.secrets.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_since_the_last_start_is_said() {
        let known = |users: &[&str], secrets: &[&str]| Known {
            users: users.iter().map(ToString::to_string).collect(),
            secrets: secrets.iter().map(ToString::to_string).collect(),
        };
        let rules = |before: &Known, after: &Known| {
            let Missing { losses, said } = compare(before, after, "users.toml", Timestamp::UNIX_EPOCH);
            (losses.iter().map(|loss| loss.rule).collect::<Vec<_>>(), said)
        };
        let before = known(&["ann", "bob"], &["aa", "bb"]);
        assert_eq!(rules(&before, &known(&["ann", "bob", "cid"], &["cc", "aa", "bb"])), (vec![], None));
        assert_eq!(rules(&before, &known(&[], &["bb"])), (vec!["users_gone", "verp_secret_gone"], None));
        let (losses, said) = rules(&before, &known(&["ann"], &[]));
        assert!(losses.is_empty() && said.is_some_and(|said| said.contains("are gone: bob. ")));
        assert_eq!(rules(&Known::default(), &before), (vec![], None));
    }
}
