//! What goes wrong in a round.

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use rustix::io::Errno;
use support::shim::{OPEN, READ, RENAME, SYNC, SystemFault, TRUNCATE, UNLINK, WRITE};

use crate::receiver::mood;

/// One thing that goes wrong while mail is taken and sent.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing; or only what is done with the process afterwards.
    None,
    /// Calls of the system fail or are slow.
    System(SystemFault),
    /// The receiver does this to everybody.
    Receiver(u8),
    /// The name server does not answer about other.test, or says that it failed.
    Dns { silent: bool },
    /// The wall clock is off by so many seconds.
    Clock(i64),
    /// Others do this to the log's current file.
    Log(Meddling),
    /// The process is stopped for a while (SIGSTOP).
    Pause,
    /// The configuration is read again, with other retries.
    Reload,
    /// An operator has everything tried now.
    RetryAll,
}

/// What others do to the log's current file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meddling {
    Delete,
    Empty,
    CutInHalf,
    RenameInside,
    MoveAway,
    Overwrite,
}

impl Meddling {
    /// Whether lines are gone by it.
    pub(crate) fn loses_lines(self) -> bool {
        self != Self::RenameInside
    }
}

/// What is done with the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It runs on, and must recover by itself.
    RunsOn,
    /// SIGTERM and a start.
    Restart,
    /// SIGKILL and a start.
    Kill,
    /// SIGKILL, and another one while it starts.
    KillTwice,
    /// The power goes.
    PowerCut,
}

/// A round.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// How many messages are submitted.
    pub(crate) messages: usize,
    /// How many of them are begun before the fault.
    pub(crate) before: usize,
    pub(crate) fault: Fault,
    pub(crate) end: End,
    /// Whether a new start has to bear the fault as well.
    pub(crate) starts_under_fault: bool,
}

/// Draws a round.
pub(crate) fn draw(random: &mut StdRng) -> Round {
    let messages = random.random_range(5..60);
    let fault = match random.random_range(0..100) {
        0..15 => Fault::None,
        15..60 => Fault::System(system_fault(random)),
        60..70 => Fault::Receiver(*[mood::HANGS_UP, mood::BUSY, mood::FORGETFUL].choose(random).expect("there are some")),
        70..76 => Fault::Dns { silent: random.random_bool(0.5) },
        76..84 => Fault::Clock(random.random_range(-100_000..100_000)),
        84..90 => Fault::Log(*MEDDLINGS.choose(random).expect("there are some")),
        90..93 => Fault::Pause,
        93..96 => Fault::Reload,
        _ => Fault::RetryAll,
    };
    let end = match random.random_range(0..100) {
        // After lines were lost, what a kill would double cannot be told.
        _ if matches!(fault, Fault::Log(_)) => End::RunsOn,
        0..50 => End::RunsOn,
        50..60 => End::Restart,
        60..80 => End::Kill,
        80..87 => End::KillTwice,
        _ => End::PowerCut,
    };
    Round { messages, before: random.random_range(0..messages), fault, end, starts_under_fault: random.random_bool(0.3) }
}

const MEDDLINGS: [Meddling; 6] =
    [Meddling::Delete, Meddling::Empty, Meddling::CutInHalf, Meddling::RenameInside, Meddling::MoveAway, Meddling::Overwrite];

/// Parts of the paths of what the relay writes: the spool's segments, its index, the log, everything.
const PARTS: [&str; 4] = ["data/spool/", "data/spool/index/", "data/log/", "/data/"];

fn system_fault(random: &mut StdRng) -> SystemFault {
    let part = PARTS.choose(random).expect("there are some");
    if random.random_bool(0.2) {
        // A disk that is slow and does nothing wrong.
        let delay = random.random_range(1_000..100_000);
        return SystemFault { mask: SYNC | WRITE, part, error: None, count: 20, per_mille: 1000, torn: false, delay };
    }
    let kinds = [WRITE, SYNC, WRITE | SYNC, OPEN, RENAME, UNLINK, TRUNCATE, READ, WRITE | SYNC | OPEN | RENAME | UNLINK | TRUNCATE];
    SystemFault {
        mask: *kinds.choose(random).expect("there are some"),
        part,
        error: Some(*[Errno::IO, Errno::NOSPC, Errno::ROFS].choose(random).expect("there are some")),
        count: *[1, 1, 2, 5, 20, u64::MAX].choose(random).expect("there are some"),
        per_mille: *[1000, 1000, 300, 50].choose(random).expect("there are some"),
        torn: random.random_bool(0.5),
        delay: 0,
    }
}
