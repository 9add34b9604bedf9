//! The suppression list, in the running relay or in the spool.

use std::path::PathBuf;

use anyhow::Context as _;
use posthaste_config::Config;
use posthaste_host::clock;
use posthaste_relay::{
    OpenedSpool,
    admin::{self, AskError, Request},
    lock, open_spool,
};
use posthaste_suppression::{
    EntryFilter, List, ListAnswer, ListRequest, Over, Register, SuppressionEntry, SuppressionRules,
    transfer::{self, Format},
};

use crate::screen;

/// The most bytes of entries in one request: well below the longest request that the relay reads.
const BATCH_BYTES: usize = 32 << 10;

/// What was done so far.
#[derive(Default)]
pub(super) struct Done {
    /// Entries that were added.
    pub(super) added: usize,
    /// Entries that existed already.
    pub(super) kept: usize,
    /// Lines that cannot be read.
    pub(super) bad: usize,
}

/// The running relay, or the spool itself if none is running.
pub(super) enum Door {
    Relay(PathBuf),
    Spool { register: Box<Register<posthaste_spool::Spool>>, rules: SuppressionRules, _lock: posthaste_relay::Lock },
}

pub(super) const ODD: &str = "the relay gave an unexpected answer";

impl Door {
    /// The running relay; None if there is none.
    pub(super) fn of_relay(config: &Config) -> anyhow::Result<Option<Self>> {
        let socket = &config.admin.socket;
        let empty = ListRequest::Remove { addresses: Vec::new(), scope: None };
        match admin::ask::<ListAnswer>(socket, &Request::Suppression(empty)) {
            Ok(_) => Ok(Some(Self::Relay(socket.clone()))),
            Err(AskError::NotRunning(_)) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot ask the relay at {}", socket.display())),
        }
    }

    /// The spool of a relay that does not run. It is made if it is missing.
    pub(super) fn open(config: &Config) -> anyhow::Result<Self> {
        let lock = lock(&config.data_dir)?;
        let OpenedSpool { spool, mended, .. } = open_spool(config)?;
        mended.iter().for_each(|(_, detail)| screen::say(format_args!("the spool: {detail}")));
        Ok(Self::Spool { register: Box::new(Register::new(spool)), rules: config.suppression.clone(), _lock: lock })
    }

    pub(super) fn ask(&self, request: ListRequest) -> anyhow::Result<ListAnswer> {
        match self {
            Self::Relay(socket) => {
                admin::ask(socket, &Request::Suppression(request)).with_context(|| format!("cannot ask the relay at {}", socket.display()))
            }
            Self::Spool { register, rules, .. } => Ok(List::new(register, rules).perform(&request, clock::now())),
        }
    }

    /// Adds entries in batches. An error says how many were added; running it again does no harm.
    pub(super) fn add(&self, entries: &[SuppressionEntry], over: Over, done: &mut Done) -> anyhow::Result<()> {
        for batch in batches(entries) {
            let answer = self.ask(ListRequest::Add { entries: batch.to_vec(), over });
            let answer = answer.with_context(|| format!("stopped after {} entries; those are on the list", done.added + done.kept))?;
            let ListAnswer::Changed { changed, kept } = answer else { anyhow::bail!(ODD) };
            (done.added, done.kept) = (done.added + changed, done.kept + kept);
        }
        Ok(())
    }

    /// Passes entries to the callback until it returns false; returns true in that case.
    pub(super) fn each(
        &self,
        filter: &EntryFilter,
        mut show: impl FnMut(&SuppressionEntry) -> anyhow::Result<bool>,
    ) -> anyhow::Result<bool> {
        let mut after = None;
        loop {
            let request = ListRequest::List { filter: filter.clone(), after, limit: ListRequest::PAGE_MAX };
            let ListAnswer::Entries { entries, next } = self.ask(request)? else { anyhow::bail!(ODD) };
            for entry in &entries {
                if !show(entry)? {
                    return Ok(true);
                }
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(false),
            }
        }
    }

    pub(super) fn close(self) -> anyhow::Result<()> {
        if let Self::Spool { register, .. } = &self {
            register.facts().close()?;
        }
        Ok(())
    }
}

/// Splits the entries into batches that fit a request.
fn batches(entries: &[SuppressionEntry]) -> impl Iterator<Item = &[SuppressionEntry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |e: &&SuppressionEntry| {
            bytes += transfer::line(e, Format::Jsonl).len();
            bytes <= BATCH_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (batch, more) = rest.split_at(count);
        rest = more;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use posthaste_mail::Address;
    use posthaste_suppression::{Breadth, EntrySource, Reason};

    use super::*;

    #[test]
    fn batches_are_small_and_leave_nobody_out() {
        let source = EntrySource { text: Some("é".repeat(EntrySource::TEXT_MAX)), ..EntrySource::default() };
        let entry = |n| {
            SuppressionEntry::new(
                Address::new(&format!("a{n}@x.org")).unwrap(),
                Breadth::Global,
                Reason::Manual,
                Timestamp::UNIX_EPOCH,
                None,
                source.clone(),
            )
        };
        let entries: Vec<_> = (0..500).map(entry).collect();
        assert_eq!(batches(&entries).flatten().cloned().collect::<Vec<_>>(), entries);
        for batch in batches(&entries) {
            let request =
                serde_json::to_string(&Request::Suppression(ListRequest::Add { entries: batch.to_vec(), over: Over::Any })).unwrap();
            assert!(request.len() < 64 << 10);
        }
        assert_eq!(batches(&[]).count(), 0);
    }
}
