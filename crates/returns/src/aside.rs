//! Puts mail aside that cannot be read, and says so.

use std::io;

use bytes::Bytes;
use posthaste_host::clock;
use posthaste_journal::{Finding, Part, State};
use posthaste_smtp::server::{Answer, Refused};
use tokio::task::spawn_blocking;

use crate::{
    handler::ReturnHandler,
    unread::{Untaken, key, tried},
};

/// The alarm about a mail that was put aside.
const ASIDE: &str = "return_put_aside";

impl ReturnHandler {
    /// Reads a mail, or puts it aside if it cannot be read: then None.
    pub(crate) async fn or_aside<T>(&self, mail: Bytes, read: impl Future<Output = Result<T, Untaken>>) -> Result<Option<T>, Refused> {
        match tried(read).await {
            Ok(taken) => Ok(Some(taken)),
            Err(Untaken::Refused(refused)) => Err(refused),
            Err(Untaken::Aside) => Ok(None),
            Err(Untaken::Unreadable(why)) => self.put_aside(mail, &why).await.map(|()| None),
        }
    }

    async fn put_aside(&self, mail: Bytes, why: &str) -> Result<(), Refused> {
        let trouble = |error: io::Error| {
            tracing::error!(%error, why, "a returning mail that cannot be read is not put aside");
            Refused::new(Answer::trouble("the mail could not be read, try again later"), "return_trouble")
        };
        let key = key(&mail).await?;
        let me = self.me.upgrade().expect("who asks has it");
        let of = key.clone();
        let kept = spawn_blocking(move || me.unread.keep(&of, &mail)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let path = kept.map_err(trouble)?;
        let what = format!("returned mail was put aside as {} and is not read again: {why}", path.display());
        self.journal.say(Part::Returns, State::Quarantined, what.clone());
        let remedy = "Read it with an editor, suppress the address that it is about, if it is about one (`posthaste suppress add`), \
                      report the fault with the file, and delete the file";
        let finding = Finding { rule: ASIDE, key: key.clone(), part: Some(Part::Returns), what, remedy: remedy.into() };
        if let Some(alarm) = self.journal.alarms().begin(finding, false, clock::now()) {
            self.journal.say_alarm(&alarm, false);
        }
        // Last, so that it is not read again whatever happens before.
        self.unread.forget(&key);
        Ok(())
    }
}
