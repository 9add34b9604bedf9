//! A step that panics gives back what it held: a session its job, a look-up its answer, the recorder its record.

use std::{
    io,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use posthaste_bounce::Verdict;
use posthaste_delivery::{ReadError, session};
use posthaste_host::{InForce, ThisHost};
use posthaste_journal::Journal;
use posthaste_mail::{Attempt, Domain, Failure, LocalCause, Name, Stage};
use posthaste_message::{Message, MessageRecord};
use posthaste_queue::{AttemptResult, Command, DeliveryJob, Fate, FateRecord, Input, JobOutcome, Next, QueueEnd, Site};
use posthaste_submission::Announced;

use super::*;
use crate::recorder::{Logged, UnloggedRecord};
use crate::{notify::Notifier, recorder::Recorder};

/// The parts of a relay on a disk of their own.
struct Parts {
    swap: Swap,
    spool: Spool,
    recovered: Recovered,
    queue: QueueHandle,
    end: QueueEnd,
}

impl Parts {
    fn new(dir: &Path) -> Self {
        let text = format!("data_dir = {:?}\ndns.nameservers = [\"127.0.0.1:9\"]\n", dir.display().to_string());
        let config = Config::parse(&text, "posthaste.toml", &ThisHost).unwrap();
        let swap = Swap::new(Settings::new(config).unwrap());
        let Store { spool, recovered, .. } = Store::open(&swap, &|_| ()).unwrap();
        let (queue, end) = QueueHandle::new();
        Self { swap, spool, recovered, queue, end }
    }

    async fn next_input(&mut self) -> Input {
        match self.end.commands.recv().await {
            Some(Command::Input(input)) => input,
            other => panic!("not an input: {other:?}"),
        }
    }

    /// The settings of deliveries. Asking for them panics, except for the first `good` times.
    fn delivery(&self, good: usize) -> InForce<posthaste_delivery::Settings> {
        panic_at(good..usize::MAX, self.swap.view(|settings| &settings.delivery))
    }

    /// A recorder, and its notes.
    fn recorder(&self, settings: InForce<crate::notify::NotifySettings>) -> (Recorder, threads::Receiver<Note>) {
        let Self { swap, spool, queue, recovered: Recovered { journal, register, pending, .. }, .. } = self;
        let threads = SignerThreads::start(1).unwrap();
        let intake = Arc::new(Intake {
            spool: spool.clone(),
            journal: journal.clone(),
            settings: swap.view(|settings| &settings.submission),
            queue: queue.clone(),
            warm: WarmBudget::new(0),
            pending: pending.clone(),
            allowances: Arc::new(Allowances::new(spool.clone())),
            signatures: Signatures::new(swap.view(|settings| &settings.signing), threads),
            register: register.clone(),
            guard: posthaste_guard::Guard::open(spool.clone(), queue.clone(), journal.clone(), swap.view(|settings| &settings.guard)),
        });
        let (own_sender, notes) = threads::channel();
        let recorder = Recorder {
            journal: journal.clone(),
            spool: spool.clone(),
            notifier: Arc::new(Notifier { settings, intake }),
            register: register.clone(),
            settings: swap.view(|settings| &settings.delivery),
            runtime: tokio::runtime::Handle::current(),
            own_sender,
            waiting: Default::default(),
            unread: Default::default(),
        };
        (recorder, notes)
    }

    /// The log's lines.
    fn log(&self, journal: &Journal) -> String {
        journal.flush().unwrap();
        std::fs::read_to_string(self.swap.load().config.log.dir.join("delivery.log")).unwrap()
    }
}

/// Settings that panic when they are asked for the time that `bad` holds, counted from 0.
fn panic_at<T: Send + Sync + 'static>(bad: Range<usize>, settings: InForce<T>) -> InForce<T> {
    let asked = AtomicUsize::new(0);
    InForce::new(move || {
        assert!(!bad.contains(&asked.fetch_add(1, Ordering::Relaxed)), "no settings");
        settings.get()
    })
}

/// A message to two recipients, with its body in memory.
fn message() -> Arc<Message> {
    let record = r#"{"id":"01K3C5VJ7G0000000000000001","arrived":"2026-11-29T06:00:00Z","stream":"default","size":9,
        "envelope":{"reverse_path":"ann@sender.test","recipients":["bob@example.test","eve@example.test"]}}"#;
    let record = MessageRecord::decode(record.as_bytes()).unwrap();
    Arc::new(Message::new(record, vec!["A: b\r\n\r\nc".into()], None))
}

fn local_error() -> Verdict {
    Verdict::on_local(LocalCause::LocalError)
}

#[tokio::test]
async fn a_session_gives_its_job_back_wherever_it_panics() {
    let dir = tempfile::tempdir().unwrap();
    let mut parts = Parts::new(dir.path());
    let Recovered { journal, register, .. } = &parts.recovered;
    let (journal, register, message) = (journal.clone(), register.clone(), message());
    let site = Arc::new(Site::at(Name::new("example").unwrap()));
    let mut panics = 0;
    for good in 0.. {
        let (_, ledger) = LedgerWriter::new(parts.spool.clone(), journal.clone());
        let out = outbound(&parts.swap, &parts.spool, &journal, &parts.queue, &register, ledger);
        let out = Outbound { settings: parts.delivery(good), ..Arc::into_inner(out).unwrap() };
        let (seq, id, warm) = (1, message.record.id, Some(message.clone()));
        let job = DeliveryJob {
            seq,
            id,
            rcpts: vec![0, 1],
            attempt: 1,
            begun: clock::now(),
            warm,
            permit: None,
            lane_day: None,
            durable: 0,
            spilled: false,
            earlier: Vec::new(),
        };
        let (_more, next) = mpsc::channel(1);
        session::run(Arc::new(out), 7, site.clone(), Name::new("ip1").unwrap(), Box::new(job), next).await;
        match parts.next_input().await {
            Input::Finished { session: 7, job, outcome: JobOutcome::Answered { said, .. }, usable: false } => {
                assert_eq!((job.seq, said.len()), (1, 2));
                for said in said {
                    let AttemptResult::Failed(Failure::Local { detail, .. }, verdict) = said else { panic!("{said:?}") };
                    assert_eq!((&*detail, verdict), ("internal error in a session: no settings", local_error()));
                }
                panics += 1;
            }
            // No panic: the site has no hosts.
            Input::OpenFailed { session: 7, job, failure, .. } => {
                assert_eq!((job.seq, failure.stage()), (1, Stage::Connect));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    // The suppression list, the choice of hosts, the settings of the connection, the verdict on the failure, whether it is outdated.
    assert_eq!(panics, 5);
    let log = parts.log(&journal);
    assert_eq!(log.matches("internal error in a session: no settings; its recipients are tried again").count(), panics, "{log}");
}

#[tokio::test]
async fn a_look_up_answers_even_if_it_panics() {
    let dir = tempfile::tempdir().unwrap();
    let mut parts = Parts::new(dir.path());
    Lookups::new(parts.delivery(0), parts.queue.clone(), parts.recovered.journal.clone(), 1).begin(
        3,
        Arc::new(Domain::new("example.test").unwrap()),
        posthaste_queue::Party::default(),
    );
    let Input::Resolved(3, Err(unroutable), ttl) = parts.next_input().await else { panic!("not an answer") };
    assert!(
        matches!(&unroutable.failure, Failure::Local { stage: Stage::Dns, detail, .. } if detail == "internal error in a look-up: no settings")
    );
    assert_eq!(unroutable.verdict, local_error());
    assert!(ttl >= Duration::from_secs(5));
}

#[tokio::test]
async fn a_record_whose_notice_panics_is_written_and_the_recorder_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let parts = Parts::new(dir.path());
    // They are asked for to decide whether a notice is due, and again to make it.
    let (recorder, notes) = parts.recorder(panic_at(1..2, parts.swap.view(|settings| &settings.notify)));
    let sender = recorder.own_sender.clone();
    let message = message();
    let record = |rcpt, next, after| {
        let (facts, elsewhere, earlier) = (None, Vec::new(), None);
        let fate = Fate { rcpt, attempt: 1, said: None, facts, elsewhere, earlier, next, was_due: Timestamp::UNIX_EPOCH };
        let (id, warm, now) = (message.record.id, Some(message.clone()), clock::now());
        let facts = Arc::new(Attempt::default());
        let record = Box::new(FateRecord { seq: 1, id, warm, now, facts, fates: vec![fate], after, results: 0, unoffered: None });
        Note::Record(UnloggedRecord { record, results: Logged::default().expect(None, 0, None) })
    };
    sender.send(record(0, Next::Expired, Some(Default::default()))).unwrap();
    // What comes meanwhile waits for it; deferrals as one record.
    for _ in 0..2 {
        sender.send(record(1, Next::Deferred(Timestamp::UNIX_EPOCH), Some(Default::default()))).unwrap();
    }
    sender.send(record(1, Next::Cancelled("ann".into(), "wrong list".into()), None)).unwrap();
    sender.send(Note::Stop).unwrap();
    let ended = tokio::task::spawn_blocking(move || recorder.run(&notes));
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the recorder stops").unwrap();
    let log = parts.log(&parts.recovered.journal);
    let line = |text: &str| log.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text} in {log}"));
    assert!(log.contains("internal error in a failure notice: no settings; its sender gets no notice"), "{log}");
    assert!(line("bob@example.test") < line("eve@example.test"), "{log}");
    let events: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("eve@example.test"))
        .filter_map(|line| line.split("\"event\":\"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(events, ["deferred", "deferred", "cancelled"]);
}

/// A fate of the message's recipients that was decided by a person.
fn cancelled(seq: u64, warm: Option<Arc<Message>>, rcpts: Range<u16>, by: &str) -> UnloggedRecord {
    let next = Next::Cancelled(by.into(), "wrong list".into());
    let fate = |rcpt| Fate {
        rcpt,
        attempt: 1,
        said: None,
        facts: None,
        elsewhere: Vec::new(),
        earlier: None,
        next: next.clone(),
        was_due: Timestamp::UNIX_EPOCH,
    };
    let fates = rcpts.map(fate).collect();
    let (id, now, facts) = (message().record.id, clock::now(), Arc::new(Attempt::default()));
    let record = Box::new(FateRecord { seq, id, warm, now, facts, fates, after: None, results: 0, unoffered: None });
    UnloggedRecord { record, results: Logged::default().expect(None, 0, None) }
}

#[tokio::test]
async fn a_message_that_is_rotten_on_disk_hurts_no_other_and_is_explained_by_what_the_log_knows() {
    let dir = tempfile::tempdir().unwrap();
    let parts = Parts::new(dir.path());
    let Recovered { journal, .. } = &parts.recovered;
    let (recorder, notes) = parts.recorder(parts.swap.view(|settings| &settings.notify));
    let (sender, intake) = (recorder.own_sender.clone(), recorder.notifier.intake.clone());
    let seq = parts.spool.store(message().record.id, "no record".into(), vec!["A: b\r\n\r\nc".into()]).await.unwrap();
    posthaste_submission::announce(journal, &message(), seq, parts.recovered.pending.begin(), Announced::Now, |_| true);
    for note in
        [Note::Record(cancelled(seq, None, 0..2, "ann")), Note::Record(cancelled(seq + 1, Some(message()), 0..1, "bob")), Note::Stop]
    {
        sender.send(note).unwrap();
    }
    tokio::task::spawn_blocking(move || recorder.run(&notes)).await.unwrap();
    let log = parts.log(journal);
    let ended = |rcpt: &str| {
        let line = log.lines().find(|line| line.contains("\"by\":\"ann\"") && line.contains(rcpt)).expect(rcpt);
        assert!(
            line.contains("\"event\":\"cancelled\"") && line.contains("\"from\":\"ann@sender.test\"") && line.contains("\"size\":9"),
            "{line}"
        );
    };
    ended("bob@example.test");
    ended("eve@example.test");
    assert!(log.contains("\"by\":\"bob\"") && log.contains("\"state\":\"alarm\""), "{log}");
    assert!(intake.closed().is_none() && journal.owes().is_none());
    assert!(parts.spool.meta(seq).unwrap().is_none(), "it has ended");
}

#[tokio::test]
async fn a_rotten_message_that_the_log_does_not_know_is_an_alarm_that_says_what_was_decided() {
    let dir = tempfile::tempdir().unwrap();
    let parts = Parts::new(dir.path());
    let Recovered { journal, .. } = &parts.recovered;
    let (mut recorder, _notes) = parts.recorder(parts.swap.view(|settings| &settings.notify));
    let seq = parts.spool.store(message().record.id, "no record".into(), vec!["A: b\r\n\r\nc".into()]).await.unwrap();
    recorder.take(cancelled(seq, None, 1..2, "ann"));
    let log = parts.log(journal);
    let alarm = log.lines().find(|line| line.contains("\"state\":\"alarm\"")).expect("an alarm");
    assert!(alarm.contains("recipient 2: Cancelled") && alarm.contains(&message().record.id.to_string()), "{alarm}");
    assert!(recorder.notifier.intake.closed().is_none());
    assert!(parts.spool.meta(seq).unwrap().is_some(), "what has no line is not forgotten");
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_closes_intake_but_not_for_longer_than_it_takes_to_know() {
    let dir = tempfile::tempdir().unwrap();
    let parts = Parts::new(dir.path());
    let Recovered { journal, .. } = &parts.recovered;
    let (mut recorder, _notes) = parts.recorder(parts.swap.view(|settings| &settings.notify));
    let (unread, now) = (&mut recorder.unread, clock::instant());
    let why = ReadError::Record(posthaste_spool::ReadError::Io { seq: 1, source: io::Error::other("EIO") });
    assert!(unread.is_worth_waiting(&why, now));
    unread.put_aside(cancelled(1, None, 0..1, "ann"), &why, journal, now);
    assert_eq!(recorder.notifier.intake.closed().expect("intake is closed").reason, "log_trouble");
    let unread = &mut recorder.unread;
    assert!(unread.is_worth_waiting(&why, now + Duration::from_secs(9)) && !unread.is_worth_waiting(&why, now + Duration::from_secs(10)));
    assert!(unread.due(now).is_empty());
    assert_eq!(unread.due(now + Duration::from_secs(10)).len(), 1);
    unread.tried(journal);
    assert!(recorder.notifier.intake.closed().is_none());
    assert!(recorder.unread.is_worth_waiting(&why, now + Duration::from_secs(10)), "it is another trouble then");
}

#[tokio::test]
async fn owed_lines_are_written_in_order_once_their_message_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let parts = Parts::new(dir.path());
    let Recovered { journal, .. } = &parts.recovered;
    let (mut recorder, _notes) = parts.recorder(parts.swap.view(|settings| &settings.notify));
    let record = |by: &str| cancelled(1, Some(message()), 0..1, by);
    journal.owe(Some("as if it could not be read".into()));
    recorder.unread.push(record("ann"));
    recorder.take(record("eve"));
    assert!(!parts.log(journal).contains("\"by\":"), "eve's waits behind ann's");
    let now = clock::instant();
    assert!(recorder.unread.due(now).is_empty(), "not at once");
    recorder.unread.wait(now).expect("something waits");
    for owed in recorder.unread.due(now + Duration::from_secs(3)) {
        recorder.take(owed);
    }
    let log = parts.log(journal);
    let line = |by: &str| log.lines().position(|line| line.contains(&format!("\"by\":\"{by}\""))).expect(by);
    assert!(line("ann") < line("eve"), "{log}");
}
