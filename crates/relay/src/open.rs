//! Opens the data folder, the spool and the listening sockets before anything runs.

use std::{
    collections::{BTreeSet, HashSet},
    fs::File,
    path::Path,
};

use posthaste_access::users::Decoys;
use posthaste_config::Config;
use posthaste_governor::LaneKey;
use posthaste_host::{clock, files, listen, systemd};
use posthaste_journal::{Alarms, Finding, Part, State};
use posthaste_mail::Name;
use posthaste_queue::Dispatcher;
use posthaste_spool::{Quarantined, Recovery, Spool};
use posthaste_warmup as warmup;
use tokio::net::TcpListener;

use crate::{
    error::OpeningError,
    kinds,
    starting::{self, Hear},
    syncs::Syncs,
    told::note_told,
    versions,
};

/// What to do about messages that are gone.
pub(crate) const SEND_AGAIN: &str = "`posthaste audit` lists them as missing: their senders have to send them again. Check the disk";
/// How far back the log is counted again after a crash: in some time zone the previous day may not be over.
const RECOUNTED: jiff::SignedDuration = jiff::SignedDuration::from_hours(72);

/// The lock on the data folder, which one relay holds at a time.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held open for its lock")] File);

/// Creates the data folder if it is missing and locks it; an error if another relay holds it.
pub fn lock(data_dir: &Path) -> Result<Lock, OpeningError> {
    kinds::check_data(data_dir)?;
    files::make_durable_dir(data_dir).map_err(|source| OpeningError::DataFolder { path: data_dir.to_owned(), source })?;
    let path = data_dir.join("lock");
    let file = files::open_lock(&path).map_err(|source| OpeningError::LockFile { path, source })?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| OpeningError::AlreadyRunning { path: data_dir.to_owned(), source: error.into() })?;
    check_format(data_dir)?;
    Ok(Lock(file))
}

/// The format of the data folder as a whole: of the facts and the ledger in the spool, of keys, and of what else has no version of its own.
const FORMAT: u32 = 1;

/// Refuses a data folder that a later version wrote, before anything in it is touched. The file `format` holds the number.
fn check_format(data_dir: &Path) -> Result<(), OpeningError> {
    let path = data_dir.join("format");
    match files::read(&path) {
        Ok(bytes) => match String::from_utf8_lossy(&bytes).trim().parse() {
            Ok(found) if found > FORMAT => Err(OpeningError::Newer { path: data_dir.to_owned(), found, known: FORMAT }),
            Ok(FORMAT) => Ok(()),
            _ => Err(OpeningError::UnknownFormat { path, known: FORMAT }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(OpeningError::DataFolder { path, source }),
    }
}

/// Writes the file `format` if there is none, once the spool is there: a data folder that has one had a spool. Returns whether there was one.
fn keep_format(data_dir: &Path) -> Result<bool, OpeningError> {
    let path = data_dir.join("format");
    if path.exists() {
        return Ok(true);
    }
    files::replace(&path, format!("{FORMAT}\n").as_bytes()).map_err(|source| OpeningError::DataFolder { path, source })?;
    Ok(false)
}

/// What logins of unknown names get. Its secret is in a file of its own, so that it is the same after a restart.
pub(crate) fn decoys(data_dir: &Path) -> Result<Decoys, OpeningError> {
    let path = data_dir.join("scram.secret");
    Decoys::load_or_create(&path).map_err(|source| OpeningError::Secret { path, source })
}

/// A spool that was opened, and what there was to say about it.
pub struct OpenedSpool {
    /// The spool.
    pub spool: Spool,
    /// The alarms that stand, those about what is missing from the spool among them.
    pub alarms: Alarms,
    /// What had to be repaired, as states and details for the log.
    pub mended: Vec<(State, String)>,
    /// Whether records may be missing from its midst: see [`posthaste_spool::Recovery::holes`].
    pub holes: bool,
    /// Whether it must be compared with the log: see [`posthaste_spool::Recovery::uncompared`].
    pub uncompared: bool,
    /// Whether it was made just now, in a data folder that had one before.
    pub gone: bool,
    /// Whether all of it was read, so that damage is known.
    pub read: bool,
    /// The lowest number that a new message can have.
    pub next: u64,
    /// How long syncs take.
    pub(crate) syncs: Syncs,
    /// The number of messages in it.
    pub messages: u64,
}

/// Opens the alarms that stand and the spool, unless a newer version wrote them or the delivery log: then nothing is touched. What is missing
/// from the spool is an alarm that stands from now on, whoever opened it. Blocks on the disk.
pub fn open_spool(config: &Config) -> Result<OpenedSpool, OpeningError> {
    open_spool_watched(config, &|_| ())
}

/// The same; `hear` is told how far a rebuild has come.
pub(crate) fn open_spool_watched(config: &Config, hear: Hear<'_>) -> Result<OpenedSpool, OpeningError> {
    kinds::check_stores(config)?;
    versions::refuse_unknown(config)?;
    let alarms = Alarms::open(&config.data_dir, clock::now())?;
    let unmade = |source| OpeningError::SpoolFolder { path: config.spool.dir.clone(), source };
    let had_spool = ["log", "segments"].iter().any(|name| config.spool.dir.join(name).exists());
    files::make_durable_dir(&config.spool.dir).map_err(unmade)?;
    let syncs = Syncs::new();
    let seen = starting::bytes(hear, "reading the spool");
    let (spool, recovery) = Spool::open_watched(&config.spool.dir, spool_options(config), clock::instant, syncs.of_spool(), &seen)
        .map_err(|source| OpeningError::Spool { path: config.spool.dir.clone(), source })?;
    let gone = keep_format(&config.data_dir)? && !had_spool;
    alarms.raise(losses(&recovery, &config.spool.dir), clock::now());
    note_told(&spool, &recovery.lost);
    let Recovery { holes, uncompared, next, messages, .. } = recovery;
    let mended = mended(&recovery, spool.index_in_memory().is_some());
    Ok(OpenedSpool { spool, alarms, mended, holes, uncompared, gone, read: recovery.rebuilt, next, messages, syncs })
}

fn mended(recovery: &Recovery, in_memory: bool) -> Vec<(State, String)> {
    let mut mended = Vec::new();
    if !recovery.clean && (recovery.messages > 0 || recovery.torn_bytes > 0) {
        let (n, torn, took) = (recovery.messages, recovery.torn_bytes, recovery.took);
        mended.push((State::Recovered, format!("not closed cleanly: read again in {took:?}, {n} messages, {torn} torn bytes cut")));
    }
    mended.extend(recovery.index_failed.as_ref().map(|error| {
        let now = match in_memory {
            true => "it is held in memory until it can be made on disk; mail is taken and sent all the same",
            false => "it was made again from the log",
        };
        (State::Alarm, format!("the spool's index failed at the start ({error}): {now}. Check the disk"))
    }));
    for q in &recovery.quarantined {
        let detail =
            format!("a damaged record (segment {}, {} bytes at {}) was copied to quarantine: {}", q.segment, q.len, q.offset, q.reason);
        mended.push((State::Quarantined, detail));
    }
    mended
}

/// What is missing from the spool, or damaged.
fn losses(recovery: &Recovery, dir: &Path) -> Vec<Finding> {
    let spool = |rule, key: String, what: String, remedy: &str| Finding { rule, key, part: Some(Part::Spool), what, remedy: remedy.into() };
    let mut losses = Vec::new();
    for missing in &recovery.missing {
        let up_to = missing.last.map_or_else(|| "onwards".to_owned(), |last| format!("to {last}"));
        let what = format!(
            "segment {} of the spool is gone, and with it the accepted messages with numbers from {} {up_to} that were not delivered yet, and \
             entries of the suppression list and warm-up budgets that stood in it. Once the start has compared the log, an alarm \
             `messages_missing` says how many messages they are",
            missing.segment, missing.first
        );
        losses.push(spool("segment_missing", format!("{}-{}", missing.segment, missing.first), what, SEND_AGAIN));
    }
    if let (Some(first), Some(last)) = (recovery.lost.first(), recovery.lost.last()) {
        let n = recovery.lost.len();
        let what = format!("the spool is not as the last stop left it: {n} accepted messages (numbers {first} to {last}) are gone");
        losses.push(spool("messages_lost", format!("{n}-{first}-{last}"), what, SEND_AGAIN));
    }
    // A message that stays in the spool is a finding of its own.
    let pieces: Vec<&Quarantined> = recovery.quarantined.iter().filter(|piece| piece.message.is_none()).collect();
    losses.extend(damaged_pieces(&pieces, dir));
    losses
}

/// The finding about damaged bytes that no message is known to hold.
pub(crate) fn damaged_pieces(pieces: &[&Quarantined], dir: &Path) -> Option<Finding> {
    let Quarantined { segment, offset, len, reason, .. } = pieces.first()?;
    let n = pieces.len();
    let what = format!(
        "{n} damaged pieces of the spool were copied to {}; the first has {len} bytes (segment {segment}, at {offset}): {reason}",
        dir.join("quarantine").display(),
    );
    let (rule, key, part) = ("spool_damaged", format!("{n}-{segment}-{offset}"), Some(Part::Spool));
    Some(Finding { rule, key, part, what, remedy: LOOK_AT_DISK.into() })
}

const LOOK_AT_DISK: &str = "`posthaste audit` tells whether an accepted message is missing; entries of the suppression list and warm-up budgets may \
                            have stood there too. Check the disk";

pub(crate) fn spool_options(config: &Config) -> posthaste_spool::SpoolOptions {
    let c = &config.spool;
    posthaste_spool::SpoolOptions {
        segment_size: c.segment_size,
        max_disk: c.max_disk.unwrap_or(0),
        min_free: c.min_free,
        index_cache: c.index_cache,
        compact_below: c.compact_below,
    }
}

/// The listeners' sockets: those that systemd has opened under the listener's name, otherwise new ones on the listener's addresses.
pub(crate) fn listeners(config: &Config) -> Result<Vec<(Name, TcpListener)>, OpeningError> {
    let mut bound = Vec::new();
    for (name, socket) in systemd::sockets().map_err(OpeningError::Handed)? {
        match config.listeners.get_key_value(name.as_str()) {
            Some((name, _)) => bound.push((name.clone(), TcpListener::from_std(socket).map_err(OpeningError::NotListening)?)),
            None => return Err(OpeningError::NoSuchListener(name)),
        }
    }
    let handed: BTreeSet<Name> = bound.iter().map(|(name, _)| name.clone()).collect();
    for (name, listener) in config.listeners.iter().filter(|(name, _)| !handed.contains(*name)) {
        for address in &listener.addresses {
            let (address, refused) = (*address, |source| OpeningError::Listener { name: name.clone(), address: *address, source });
            bound.push((name.clone(), listen::open(address).map_err(refused)?));
        }
    }
    Ok(bound)
}

/// The sockets of the HTTP doors. Mail does not wait for a default address that another program has: the relay goes without page and API then.
pub(crate) fn http_listeners(config: &Config) -> Result<Vec<TcpListener>, OpeningError> {
    let mut bound = Vec::new();
    for address in &config.http.addresses {
        match listen::open(*address) {
            Ok(socket) => bound.push(socket),
            Err(source) if config.http.configured => return Err(OpeningError::Http { address: *address, source }),
            Err(source) => tracing::warn!(
                "there is no web page and no HTTP API: cannot listen on {address}, the default of http.address ({source}); set http.address to \
                 another address, or to [] to do without, and restart"
            ),
        }
    }
    Ok(bound)
}

/// After an unclean stop, counts in the log how much of the leased warm-up budget was sent, and how it was received.
pub(crate) fn recount(dispatcher: &mut Dispatcher, config: &Config, lanes: &HashSet<LaneKey>) {
    let since = clock::now().checked_sub(RECOUNTED).unwrap_or(jiff::Timestamp::MIN);
    let counted = match warmup::recount(&config.log.dir, Some(since)) {
        Ok(counted) => counted,
        Err(error) => return tracing::warn!(%error, "the log cannot be counted again; all leased warm-up budget counts as sent"),
    };
    let governor = dispatcher.governor_mut();
    for (lane, date, counts) in counted.days().filter(|(lane, ..)| lanes.contains(lane)) {
        if let Some(id) = governor.find(lane) {
            governor.recount(id, date, counts);
        }
    }
}

/// Memory for bodies between intake and delivery, in bytes.
pub(crate) fn body_cache(config: &Config) -> usize {
    usize::try_from(config.limits.body_cache).unwrap_or(usize::MAX)
}

/// Curves have days of their own, but a source's first day of warm-up is a UTC date.
pub(crate) fn today() -> jiff::civil::Date {
    jiff::tz::TimeZone::UTC.to_datetime(clock::now()).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_is_a_finding_with_a_key_of_its_own() {
        use posthaste_spool::{MissingSegment, Quarantined};
        let missing = |segment, first, last| MissingSegment { segment, first, last };
        let piece = |segment, message| Quarantined { segment, offset: 64, len: 40, message, reason: "no record has this checksum".into() };
        let recovery = Recovery {
            clean: false,
            rebuilt: true,
            index_failed: None,
            messages: 9,
            torn_bytes: 0,
            quarantined: vec![piece(3, Some(7)), piece(4, None), piece(5, None)],
            damaged: Vec::new(),
            missing: vec![missing(2, 40, Some(89)), missing(4, 120, None)],
            lost: vec![51, 60],
            holes: true,
            uncompared: true,
            next: 130,
            took: std::time::Duration::ZERO,
        };
        let losses = losses(&recovery, Path::new("/spool"));
        let of: Vec<_> = losses.iter().map(|loss| (loss.rule, loss.key.as_str())).collect();
        assert_eq!(
            of,
            [("segment_missing", "2-40"), ("segment_missing", "4-120"), ("messages_lost", "2-51-60"), ("spool_damaged", "2-4-64")]
        );
        assert!(losses[0].what.contains("numbers from 40 to 89") && losses[1].what.contains("from 120 onwards"), "{losses:?}");
        assert!(losses.iter().all(|loss| loss.remedy.contains("posthaste audit")));
    }

    #[test]
    fn a_data_folder_of_a_later_version_is_refused_and_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("new/data");
        drop(lock(&data).unwrap());
        assert!(!keep_format(&data).unwrap() && keep_format(&data).unwrap());
        assert_eq!(std::fs::read_to_string(data.join("format")).unwrap(), "1\n");
        drop(lock(&data).unwrap());
        std::fs::write(data.join("format"), "2\n").unwrap();
        let refused = lock(&data).unwrap_err();
        assert!(matches!(refused, OpeningError::Newer { found: 2, known: 1, .. }), "{refused}");
        assert_eq!(std::fs::read_to_string(data.join("format")).unwrap(), "2\n");
        std::fs::write(data.join("format"), [0xff, 0xfe, b'1']).unwrap();
        assert!(matches!(lock(&data).unwrap_err(), OpeningError::UnknownFormat { .. }), "what is no UTF-8 either");
        for unknown in ["\0\0", "", "2.1\n", "v2\n", "1\nfeatures: more\n", "99999999999999999999\n"] {
            std::fs::write(data.join("format"), unknown).unwrap();
            let refused = lock(&data).unwrap_err();
            assert!(matches!(refused, OpeningError::UnknownFormat { known: 1, .. }), "{unknown:?}: {refused}");
            assert_eq!(std::fs::read_to_string(data.join("format")).unwrap(), unknown);
        }
    }
}
