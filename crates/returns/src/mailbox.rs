//! Mailboxes that are read for returned mail, besides a listener or instead of one. A mail is marked as read after its line is durable.
//! Mail that a crash leaves unmarked is read again, but its reports do not count twice.

mod common;
mod imap;
mod maildir;
mod mbox;

use std::{collections::HashMap, sync::Arc};

use posthaste_mail::Name;
use tokio::{task::JoinSet, time::timeout};

use self::common::{MailboxError, WITHIN};
use crate::{
    handler::ReturnHandler,
    settings::{Mailbox, Settings},
};

/// Reads the configured mailboxes for as long as the relay runs. An error raises one alarm, and its end is reported once.
pub async fn watch(handler: Arc<ReturnHandler>) {
    let mut errors: HashMap<Name, String> = HashMap::new();
    loop {
        let settings = handler.settings();
        let mut reading = JoinSet::new();
        for (name, mailbox) in settings.returns.mailboxes.clone() {
            let (handler, settings) = (handler.clone(), settings.clone());
            reading.spawn(async move {
                let read = timeout(WITHIN, read(&handler, &settings, &mailbox)).await.unwrap_or(Err(MailboxError::Slow));
                (name, read)
            });
        }
        while let Some(done) = reading.join_next().await {
            let Ok((name, read)) = done else { continue };
            match read.map_err(|error| error.to_string()) {
                Ok(()) => {
                    errors.remove(&name);
                    handler.mailbox_is_read(name.as_str());
                }
                Err(why) if errors.get(&name) != Some(&why) => {
                    handler.mailbox_fails(name.as_str(), &why);
                    errors.insert(name, why);
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(settings.returns.read_every).await;
    }
}

async fn read(handler: &Arc<ReturnHandler>, settings: &Settings, mailbox: &Mailbox) -> Result<(), MailboxError> {
    match mailbox {
        Mailbox::Maildir(path) => maildir::read(handler, path).await,
        Mailbox::Mbox(path) => mbox::read(handler, path).await,
        Mailbox::Imap(imap) => imap::read(handler, settings, imap).await,
    }
}
