//! Parts of the relay, made from its settings.

use std::sync::{Arc, mpsc as threads};

use posthaste_config::Config;
use posthaste_delivery::{Outbound, ledger::LedgerReader, sources};
use posthaste_queue::QueueHandle;
use posthaste_spool::Spool;
use posthaste_submission::Intake;
use tokio::sync::oneshot;

use crate::{
    notify::Notifier,
    recorder::{Note, Recorder},
    settings::Swap,
};

/// What delivers.
pub(super) fn outbound(
    swap: &Swap,
    spool: &Spool,
    journal: &posthaste_journal::Journal,
    queue: &QueueHandle,
    register: &Arc<posthaste_suppression::Register<Spool>>,
    ledger: LedgerReader,
) -> Arc<Outbound> {
    let settings = swap.view(|settings| &settings.delivery);
    let sources = Arc::new(sources::Watch::new(settings.clone(), journal.clone(), queue.clone()));
    Arc::new(Outbound {
        spool: spool.clone(),
        settings,
        queue: queue.clone(),
        journal: journal.clone(),
        down: Default::default(),
        bodies: Default::default(),
        turned_away: Default::default(),
        at_once: Default::default(),
        logins: Default::default(),
        sources,
        ledger,
        under_way: Default::default(),
        reach: Default::default(),
        register: register.clone(),
        published: Default::default(),
    })
}

/// Starts the recorder's thread. Returns the sender of its input, and a receiver that resolves when it has ended.
pub(super) fn start_recorder(swap: &Swap, intake: &Arc<Intake>) -> std::io::Result<(threads::Sender<Note>, oneshot::Receiver<()>)> {
    // No bound of its own, since the engine must not wait. A record belongs to an attempt, a deadline or an operator's change of a queued
    // recipient, so a queue that gets no new mail can add only so many, and intake is closed while the log cannot be written.
    let (sender, notes) = threads::channel();
    let recorder = Recorder {
        journal: intake.journal.clone(),
        spool: intake.spool.clone(),
        notifier: Arc::new(Notifier { settings: swap.view(|settings| &settings.notify), intake: intake.clone() }),
        register: intake.register.clone(),
        settings: swap.view(|settings| &settings.delivery),
        runtime: tokio::runtime::Handle::current(),
        own_sender: sender.clone(),
        waiting: Default::default(),
        unread: Default::default(),
    };
    let (done, ended) = oneshot::channel();
    std::thread::Builder::new().name("recorder".into()).spawn(move || {
        recorder.run(&notes);
        let _ = done.send(());
    })?;
    Ok((sender, ended))
}

/// The threads that sign.
pub(super) fn signers(config: &Config) -> usize {
    config.dkim.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(2, usize::from)
}
