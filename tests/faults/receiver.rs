//! The recipients, and how their receiver treats them.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use support::{Act, FakeMx, Step};

/// What becomes of mail for a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is accepted.
    Good,
    /// Its first attempts are deferred.
    Later(u32),
    /// There is no such user.
    Gone,
    /// The receiver takes the first message and hangs up without saying so.
    Unanswered,
    /// The address was on the suppression list before anything else happened.
    Unwanted,
    /// It goes from a source that warms up.
    Warm,
}

/// What the receiver does to everybody at the moment.
pub(crate) mod mood {
    pub(crate) const FINE: u8 = 0;
    pub(crate) const HANGS_UP: u8 = 1;
    pub(crate) const BUSY: u8 = 2;
    pub(crate) const FORGETFUL: u8 = 3;
}

/// The recipients with these numbers are on the suppression list from the start.
pub(crate) fn is_unwanted(serial: usize) -> bool {
    serial % 40 == 9
}

/// What becomes of mail for this recipient.
pub(crate) fn kind(serial: usize) -> Kind {
    // Neighbours, which share messages, are of different kinds.
    match serial.wrapping_mul(2_654_435_761) % 100 {
        _ if is_unwanted(serial) => Kind::Unwanted,
        _ if serial % 25 == 3 => Kind::Warm,
        n @ 0..10 => Kind::Later(1 + n as u32 % 2),
        10..16 => Kind::Gone,
        16..18 => Kind::Unanswered,
        _ => Kind::Good,
    }
}

/// Its address.
pub(crate) fn address(serial: usize) -> String {
    let domain = match kind(serial) {
        Kind::Warm => "warm.test",
        _ if serial.is_multiple_of(5) => "other.test",
        _ => "good.test",
    };
    format!("r{serial}@{domain}")
}

/// The number in an address; None for other addresses.
pub(crate) fn serial(address: &str) -> Option<usize> {
    address.strip_prefix('r')?.split_once('@')?.0.parse().ok()
}

/// The receiver of all of them.
pub(crate) struct Receiver {
    pub(crate) mx: FakeMx,
    mood: Arc<AtomicU8>,
    unanswered: Arc<Mutex<HashSet<usize>>>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let (mx, mood, unanswered) = (FakeMx::start(), Arc::new(AtomicU8::new(mood::FINE)), Arc::new(Mutex::default()));
        let (now, silent, tries) = (mood.clone(), unanswered.clone(), Mutex::new(HashMap::new()));
        mx.script(move |session, step| act(now.load(Ordering::SeqCst), session, step, &silent, &tries));
        Self { mx, mood, unanswered }
    }

    /// From now on.
    pub(crate) fn is(&self, mood: u8) {
        self.mood.store(mood, Ordering::SeqCst);
        if mood != mood::FINE {
            self.mx.hang_up();
        }
    }

    /// The recipients whose message it took without saying so.
    pub(crate) fn unanswered(&self) -> HashSet<usize> {
        lock(&self.unanswered).clone()
    }

    /// How often each recipient's mail was taken.
    pub(crate) fn taken(&self) -> HashMap<usize, usize> {
        self.mx.look(|all| {
            let mut counts = HashMap::new();
            for serial in all.iter().filter(|t| t.taken).flat_map(|t| &t.rcpts).filter_map(|rcpt| serial(rcpt)) {
                *counts.entry(serial).or_default() += 1;
            }
            counts
        })
    }
}

fn act(now: u8, session: usize, step: Step<'_>, silent: &Mutex<HashSet<usize>>, tries: &Mutex<HashMap<usize, u32>>) -> Act {
    match (now, step) {
        (mood::HANGS_UP, Step::Connect) => return Act::Close,
        (mood::BUSY, Step::Connect) => return Act::SayAndClose("421 4.3.2 busy".into()),
        (mood::FORGETFUL, Step::Mail(_)) if session.is_multiple_of(2) => return Act::Close,
        (mood::FORGETFUL, Step::Dot(_)) => return Act::Say("451 4.3.0 what was it?".into()),
        _ => {}
    }
    match step {
        Step::Rcpt(rcpt) => match serial(rcpt).map(|s| (s, kind(s))) {
            Some((_, Kind::Gone)) => Act::Say("550 5.1.1 no such user".into()),
            Some((serial, Kind::Later(times))) => {
                let mut tries = lock(tries);
                let tried = tries.entry(serial).or_default();
                *tried += 1;
                if *tried > times { Act::Usual } else { Act::Say("451 4.3.0 once more".into()) }
            }
            _ => Act::Usual,
        },
        Step::Dot(t) => {
            let of: Vec<usize> = t.rcpts.iter().filter_map(|r| serial(r)).collect();
            let mut silent = lock(silent);
            if of.iter().any(|s| kind(*s) == Kind::Unanswered && !silent.contains(s)) {
                silent.extend(of);
                return Act::Close;
            }
            Act::Usual
        }
        _ => Act::Usual,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
