//! What a user may send: from which addresses, how much, and to how many recipients.

use std::{sync::Arc, time::Duration};

use posthaste_host::clock;
use posthaste_journal::{Finding, Journal};
use posthaste_mail::ReversePath;
use posthaste_message::Prepared;
use posthaste_smtp::server::{Answer, Refused};
use posthaste_spool::Spool;

use crate::users::{Moment, Quotas, Spent, User};

/// The key prefix in the spool of the days' counts of each user.
const QUOTA_KEY: &str = "quota/";
/// The alarm about quotas that go on because the clock went back. It ends by itself.
const CLOCK_QUOTA: &str = "clock_quota";
/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Checks messages against their users' limits and counts what users send.
pub struct Allowances {
    quotas: Quotas,
    spool: Spool,
}

impl Allowances {
    /// Starts with the counts from the spool.
    pub fn new(spool: Spool) -> Self {
        let saved = spool.scan(QUOTA_KEY.as_bytes()).into_iter().filter_map(|(key, value)| {
            let name = key.strip_prefix(QUOTA_KEY.as_bytes()).and_then(|name| std::str::from_utf8(name).ok())?;
            Some((name.into(), value))
        });
        Self { quotas: Quotas::saved(saved), spool }
    }

    /// Whether `user` may begin a message with this sender and, if declared, this size in bytes.
    pub fn may_begin(&self, user: &User, from: &ReversePath, size: Option<u64>) -> Result<(), Refused> {
        may_send(user)?;
        // The null reverse-path is nobody's address; the From field is checked in any case.
        if let ReversePath::Mailbox(from) = from {
            may_send_as(user, from.as_str())?;
        }
        fits(user, size.unwrap_or(0))?;
        self.quotas.check(user, 1, moment()).map_err(spent)
    }

    /// Whether `user` may send one message to this many recipients now.
    pub fn may_add(&self, user: &User, recipients: u64) -> Result<(), Refused> {
        if user.recipients.is_some_and(|max| recipients > max as u64) {
            let text = format!("no more than {} recipients in one message of this user", user.recipients.unwrap_or_default());
            return Err(Refused::new(Answer::new(452, 5, 3, text), "too_many_recipients"));
        }
        self.quotas.check(user, recipients, moment()).map_err(spent)
    }

    /// Charges a message's recipients to its user's rate and quota.
    pub fn charge(&self, user: Option<&User>, recipients: u64) -> Result<(), Refused> {
        let Some(user) = user else { return Ok(()) };
        if let Some(bytes) = self.quotas.take(user, recipients, moment()).map_err(spent)? {
            self.spool.put(format!("{QUOTA_KEY}{}", user.name).as_bytes(), &bytes);
        }
        Ok(())
    }

    /// Looks at the clock until the relay stops, and raises an alarm while it is behind a day on which recipients are counted.
    pub async fn watch_clock(self: Arc<Self>, journal: Journal) {
        loop {
            self.look(&journal);
            tokio::time::sleep(LOOK).await;
        }
    }

    fn look(&self, journal: &Journal) {
        let Some((users, until)) = self.quotas.look(moment()) else {
            return journal.mended(None, CLOCK_QUOTA, "", || "no daily_quota goes on because of the clock any more".into());
        };
        let what = format!(
            "the clock went back: {users} users have sent on a later day, and what they sent counts against their daily_quota until {until}, or \
             until the relay has run for 24 hours"
        );
        let remedy = "Check the clock; if it was ahead before and is right now, nothing has to be done but to wait".into();
        journal.raise(Finding { rule: CLOCK_QUOTA, key: String::new(), part: None, what, remedy });
    }
}

fn moment() -> Moment {
    Moment { wall: clock::now(), steady: clock::steady() }
}

/// Whether `user` may submit this message: checks its size and every author in its From field.
pub fn may_hand_in(user: &User, prepared: &Prepared) -> Result<(), Refused> {
    may_send(user)?;
    fits(user, prepared.size)?;
    if user.may_send_as_anybody() {
        return Ok(());
    }
    match &prepared.authors {
        Some(authors) => authors.iter().try_for_each(|author| may_send_as(user, author)),
        None => Err(Refused::new(
            Answer::new(550, 7, 1, format!("user {}: the From field has no addresses that can be checked", user.name)),
            "bad_from",
        )),
    }
}

fn may_send(user: &User) -> Result<(), Refused> {
    let refused = || Refused::new(Answer::new(550, 7, 1, format!("user {} may not send mail", user.name)), "sender_not_allowed");
    user.sends().then_some(()).ok_or_else(refused)
}

fn may_send_as(user: &User, address: &str) -> Result<(), Refused> {
    match user.may_send_as(address) {
        true => Ok(()),
        false => Err(Refused::new(Answer::new(550, 7, 1, format!("user {} may not send as {address}", user.name)), "sender_not_allowed")),
    }
}

fn fits(user: &User, size: u64) -> Result<(), Refused> {
    match user.message_size {
        Some(max) if size > max => {
            Err(Refused::new(Answer::new(552, 3, 4, format!("larger than {max} bytes, this user's limit")), "too_large"))
        }
        _ => Ok(()),
    }
}

fn spent(spent: Spent) -> Refused {
    Refused::new(Answer::new(452, 7, 1, spent.to_string()), spent.reason())
}
