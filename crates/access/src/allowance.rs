//! What a user may: in whose name, how much, to how many.

use posthaste_host::clock;
use posthaste_mail::ReversePath;
use posthaste_message::Prepared;
use posthaste_smtp::server::{Answer, Refused};
use posthaste_spool::Spool;

use crate::users::{Quotas, Spent, User};

/// Before a user's name in the spool, where the count of its day is kept.
const QUOTA_KEY: &str = "quota/";

/// What users may, and what they have sent of it.
pub struct Allowances {
    quotas: Quotas,
    spool: Spool,
}

impl Allowances {
    /// With what users have sent today, as the spool has it.
    pub fn new(spool: Spool) -> Self {
        let saved = spool.scan(QUOTA_KEY.as_bytes()).into_iter().filter_map(|(key, value)| {
            let name = key.strip_prefix(QUOTA_KEY.as_bytes()).and_then(|name| std::str::from_utf8(name).ok())?;
            Some((name.into(), value))
        });
        Self { quotas: Quotas::saved(saved, clock::now()), spool }
    }

    /// Whether `user` may begin a message with this sender and, where it said so, of this size.
    pub fn may_begin(&self, user: &User, from: &ReversePath, size: Option<u64>) -> Result<(), Refused> {
        // The null reverse-path is nobody's name; From is checked all the same.
        if let ReversePath::Mailbox(from) = from {
            may_send_as(user, from.as_str())?;
        }
        fits(user, size.unwrap_or(0))?;
        self.quotas.check(user, 1, clock::now()).map_err(spent)
    }

    /// Whether `user` may write to so many recipients in one message now.
    pub fn may_add(&self, user: &User, recipients: u64) -> Result<(), Refused> {
        if user.recipients.is_some_and(|max| recipients > max as u64) {
            let text = format!("no more than {} recipients in one message of this user", user.recipients.unwrap_or_default());
            return Err(Refused::new(Answer::new(452, 5, 3, text), "too_many_recipients"));
        }
        self.quotas.check(user, recipients, clock::now()).map_err(spent)
    }

    /// Takes a message's recipients from what its user has.
    pub fn charge(&self, user: Option<&User>, recipients: u64) -> Result<(), Refused> {
        let Some(user) = user else { return Ok(()) };
        if let Some(bytes) = self.quotas.take(user, recipients, clock::now()).map_err(spent)? {
            self.spool.put(format!("{QUOTA_KEY}{}", user.name).as_bytes(), &bytes);
        }
        Ok(())
    }
}

/// Whether `user` may hand in this message: its size, and every author in From.
pub fn may_hand_in(user: &User, prepared: &Prepared) -> Result<(), Refused> {
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
