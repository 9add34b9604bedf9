//! Watches the spool's and the log's disks for trouble, and raises alarms about what is missing or damaged.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use posthaste_host::clock;
use posthaste_journal::{Alarms, Finding, Journal, Part, State};
use posthaste_message::MessageRecord;
use posthaste_monitor::LogAlarm;
use posthaste_spool::Spool;

use crate::{
    engine::{HALTED, LANE_WAITS},
    open::damaged_pieces,
    told::{note_alarms, note_log_list},
};

/// The alarm about an index of the spool that failed at the start.
pub(crate) const INDEX_FAILED: &str = "index_failed";
/// The alarm about a configuration that was refused.
pub(crate) const RELOAD_REFUSED: &str = "reload_refused";
/// The alarm about a segment of the spool that cannot be emptied.
const SEGMENT_STUCK: &str = "segment_stuck";
/// The alarm about messages that the disk does not give.
const UNREADABLE: &str = "spool_unreadable";
/// Alarms that a start ends: it shows that they are mended, or finds the same again.
pub(crate) const MENDED_BY_A_START: [&str; 11] = [
    HALTED,
    INDEX_FAILED,
    UNREADABLE,
    RELOAD_REFUSED,
    LANE_WAITS,
    SEGMENT_STUCK,
    "not_accepting",
    "source_gone",
    "introspection",
    "certificate_kept",
    posthaste_guard::ENDS_SOON,
];
/// How often spool and log are checked.
const EVERY: Duration = Duration::from_secs(2);
/// The index of the log is brought up to date once in so many turns, so that a look-up has little to read.
const INDEX_EVERY: u64 = 30;

/// Raises an alarm when the spool or the log is in trouble, until that is over; says one for each time that another program meddled with
/// the log's files; and raises one for each loss: a gap in the log, a damaged message. Never returns.
pub(crate) async fn watch_trouble(spool: Spool, journal: Journal, alarms: Alarms) {
    let mut damaged = BTreeSet::new();
    let mut index_in_memory = spool.index_in_memory().is_some();
    for turn in 0_u64.. {
        tokio::time::sleep(EVERY).await;
        for (rule, part, now) in [
            ("spool_unwritable", Part::Spool, spool.trouble()),
            ("log_unwritable", Part::Log, journal.trouble()),
            ("lines_owed", Part::Log, journal.owes()),
        ] {
            let remedy = || "Make room on the disk, or mend it; mail is taken again by itself".to_owned();
            let finding =
                |why| Finding { rule, key: String::new(), part: Some(part), what: format!("no mail is taken: {why}"), remedy: remedy() };
            match now {
                Some(why) => journal.raise(finding(why)),
                None => journal.mended(part, rule, "", || "mail is taken again".into()),
            }
        }
        match unreadable(&spool.unreadable()) {
            Some(finding) => journal.raise(finding),
            None => journal.mended(Part::Spool, UNREADABLE, "", || "the disk gives what is in the spool again".into()),
        }
        if std::mem::replace(&mut index_in_memory, spool.index_in_memory().is_some()) && !index_in_memory {
            journal.mended(Part::Spool, INDEX_FAILED, "", || "the spool's index is on disk again".into());
        }
        journal.say_refused(clock::now());
        for segment in spool.stuck() {
            journal.raise(stuck(segment));
        }
        let pieces = spool.take_quarantined();
        let new: Vec<u64> = spool.damaged().into_iter().filter(|seq| damaged.insert(*seq)).collect();
        let (spool, journal, alarms) = (spool.clone(), journal.clone(), alarms.clone());
        let look = move || {
            let found = damaged_pieces(&pieces.iter().collect::<Vec<_>>(), spool.dir());
            raise(&alarms, &journal, new.into_iter().map(|seq| damage(&spool, seq)).chain(found).collect());
            take_log_alarms(&journal, &alarms);
            alarms.save();
            note_alarms(&alarms, &spool);
            note_log_list(&journal, &spool);
            if turn.is_multiple_of(INDEX_EVERY)
                && let Err(error) = journal.index().catch_up()
            {
                tracing::warn!(%error, "the index of the delivery log; what it lacks is read from the log");
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(look).await {
            tracing::error!("the watch over spool and log has failed: {error}");
        }
    }
}

/// What is to be said of messages that the disk does not give. It says nothing of their number, which changes while the alarm stands.
fn unreadable(messages: &[(u64, String)]) -> Option<Finding> {
    let (first, why) = messages.first()?;
    Some(Finding {
        rule: UNREADABLE,
        key: String::new(),
        part: Some(Part::Spool),
        what: format!("the disk does not give what is in the spool, and that mail waits; the first such message is number {first}: {why}"),
        remedy: "Check the disk. Each attempt tries to read it again, and nothing expires meanwhile; `posthaste queue drop` ends what will never be read"
            .into(),
    })
}

/// Reads the bodies of all messages that were in the spool at the start, a little each second: after an orderly stop a start does not read them,
/// and what is damaged is to be known before its turn comes. [`watch_trouble`] raises the alarms.
pub(crate) async fn verify_bodies(spool: Spool) {
    let mut from = 0;
    loop {
        let reader = spool.clone();
        let pause = match tokio::task::spawn_blocking(move || reader.verify(from, VERIFIED_IN_A_SECOND)).await {
            Ok(Ok(None)) => return,
            Ok(Ok(Some(next))) => {
                from = next;
                Duration::from_secs(1)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "not all messages in the spool can be verified now; it goes on in a minute");
                Duration::from_secs(60)
            }
            Err(error) => return tracing::error!("the messages in the spool are not verified: {error}"),
        };
        tokio::time::sleep(pause).await;
    }
}

/// A disk that is busy with mail hardly notices it, and 100 GB of mail that waits are read within two hours.
const VERIFIED_IN_A_SECOND: u64 = 16 << 20;

/// Says what stands at a start that began at this time: it was found just now, or while no relay ran, or nobody has acknowledged it yet. And
/// what was acknowledged while no relay ran. Blocks on the disk.
pub(crate) fn say_standing(alarms: &Alarms, journal: &Journal, began: Timestamp) {
    alarms.take_untold().iter().for_each(|acknowledgement| journal.say_acknowledged(acknowledgement));
    let standing = alarms.now();
    standing.alarms.iter().for_each(|alarm| journal.say_alarm(alarm, alarm.since < began));
    if standing.more > 0 {
        let detail = format!("{} more alarms stand until `posthaste alarms acknowledge --all`", standing.more);
        journal.say(None, State::Alarm, detail);
    }
}

/// Says what others did to the log's files, and raises an alarm for each gap. Blocks on the disk.
pub fn take_log_alarms(journal: &Journal, alarms: &Alarms) {
    let mut gaps = Vec::new();
    for alarm in journal.take_alarms() {
        match alarm {
            LogAlarm::Meddled(what) => journal.say(Part::Log, State::Alarm, what),
            LogAlarm::ListLost { key, what, remedy } => {
                gaps.push(Finding { rule: "log_list_lost", key, part: Some(Part::Log), what, remedy });
            }
            LogAlarm::Gap { key, what, remedy } => gaps.push(Finding { rule: "log_gap", key, part: Some(Part::Log), what, remedy }),
        }
    }
    raise(alarms, journal, gaps);
}

/// Raises alarms about findings, and says those that are new. Blocks on the disk.
pub(crate) fn raise(alarms: &Alarms, journal: &Journal, findings: Vec<Finding>) {
    if !findings.is_empty() {
        alarms.raise(findings, clock::now()).iter().for_each(|alarm| journal.say_alarm(alarm, false));
    }
}

/// The finding about a segment that keeps its room.
fn stuck(segment: u32) -> Finding {
    Finding {
        rule: SEGMENT_STUCK,
        key: segment.to_string(),
        part: Some(Part::Spool),
        what: format!(
            "segment {segment} of the spool cannot be read as a whole: its mail is sent, but its room on the disk is not given back"
        ),
        remedy: "`posthaste audit` tells whether an accepted message is missing. Check the disk".into(),
    }
}

/// The finding about a damaged message.
fn damage(spool: &Spool, seq: u64) -> Finding {
    let record = spool.meta(seq).ok().flatten().and_then(|meta| MessageRecord::decode(&meta).ok());
    let (which, remedy) = match record {
        Some(record) => (
            format!("{} from <{}>", record.id, record.envelope.reverse_path),
            "Its sender is told when it expires, but has to send it again if the relay is killed before; `posthaste queue drop` ends it sooner. \
             Check the disk",
        ),
        None => (
            format!("message number {seq}"),
            "If `posthaste audit` lists it as missing, its sender has to send it again; otherwise its sender is told when it expires. Check \
             the disk",
        ),
    };
    let what = format!("{which} is damaged on disk and cannot be delivered");
    Finding { rule: "message_damaged", key: seq.to_string(), part: Some(Part::Spool), what, remedy: remedy.into() }
}
