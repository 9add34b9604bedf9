//! Turns of look-ups: so many at once, handed round the streams, and places for those that wait for slow name servers.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use posthaste_mail::Name;
use tokio::{sync::oneshot, time::timeout};

/// How long a look-up keeps its turn. Servers that live answer sooner; who waits for others is not to hold up those that ask living ones.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a look-up that left its turn keeps its place, even if others need it.
const PLACE_KEPT: Duration = Duration::from_millis(800);
/// How many look-ups may wait for slow servers, for each that has a turn.
const SLOW: usize = 3;

/// The turns and places of all look-ups.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    turns: Mutex<Queue>,
    slow: Mutex<Slow>,
}

/// Those that have a place or need one.
#[derive(Debug)]
struct Slow {
    free: usize,
    /// Look-ups that have had their turn and need a place.
    need: VecDeque<oneshot::Sender<Place>>,
    /// Look-ups that are about to give up their places.
    leaving: usize,
    /// Look-ups that give up their places when others need them, the longest-waiting first.
    patient: BTreeMap<u64, oneshot::Sender<()>>,
    /// The number for the next of them.
    next: u64,
}

/// Who has a turn and who waits for one.
#[derive(Debug)]
struct Queue {
    free: usize,
    waiting: HashMap<Name, VecDeque<oneshot::Sender<Turn>>>,
    /// The streams that wait; the next turn is the first one's.
    round: VecDeque<Name>,
}

/// A turn; when dropped, it is the next one's.
#[derive(Debug)]
struct Turn(Option<Arc<Shared>>);

/// A place; when dropped, it is the next one's.
#[derive(Debug)]
struct Place {
    of: Option<Arc<Shared>>,
    /// Whether its look-up was told to leave.
    gives_way: bool,
}

/// A look-up gave its place to others before its name servers answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaveWay;

impl GaveWay {
    /// How long its name servers had.
    pub const AFTER: Duration = PATIENCE.saturating_add(PLACE_KEPT);
}

impl Turns {
    /// So many at once, besides those that wait for slow servers.
    pub fn new(most: usize) -> Self {
        let queue = Queue { free: most, waiting: HashMap::new(), round: VecDeque::new() };
        let slow = Slow { free: most * SLOW, need: VecDeque::new(), leaving: 0, patient: BTreeMap::new(), next: 0 };
        Self(Arc::new(Shared { turns: Mutex::new(queue), slow: Mutex::new(slow) }))
    }

    /// Runs a look-up for a stream when its turn has come. One that takes long leaves its turn to the next and takes a place among the slow
    /// ones; when there are too many of those, the one that has waited longest gives way.
    pub async fn take<T>(&self, stream: &Name, looked: impl Future<Output = T>) -> Result<T, GaveWay> {
        let mut looked = pin!(looked);
        let turn = self.turn(stream).await;
        if let Ok(answer) = timeout(PATIENCE, &mut looked).await {
            return Ok(answer);
        }
        let place = tokio::select! {
            biased;
            answer = &mut looked => return Ok(answer),
            place = self.place() => place,
        };
        drop(turn);
        if let Ok(answer) = timeout(PLACE_KEPT, &mut looked).await {
            return Ok(answer);
        }
        let Some((number, told)) = self.0.slow().be_patient() else {
            place.give_way();
            return Err(GaveWay);
        };
        tokio::select! {
            biased;
            answer = &mut looked => {
                // It may have been told just now.
                if self.0.slow().patient.remove(&number).is_none() {
                    place.give_way();
                }
                Ok(answer)
            }
            _ = told => {
                place.give_way();
                Err(GaveWay)
            }
        }
    }

    async fn turn(&self, stream: &Name) -> Turn {
        let given = self.0.turns().enter(stream);
        match given {
            None => Turn(Some(self.0.clone())),
            Some(given) => given.await.expect("who waits gets a turn"),
        }
    }

    async fn place(&self) -> Place {
        let given = self.0.slow().enter();
        match given {
            None => Place { of: Some(self.0.clone()), gives_way: false },
            Some(given) => given.await.expect("who needs a place gets one"),
        }
    }
}

impl Slow {
    /// Takes a place; if none is free, the look-up that has waited longest is told to leave. Returns where one will be given.
    fn enter(&mut self) -> Option<oneshot::Receiver<Place>> {
        if self.free > 0 {
            self.free -= 1;
            return None;
        }
        let (give, given) = oneshot::channel();
        self.need.push_back(give);
        if self.need.len() > self.leaving
            && let Some((_, longest)) = self.patient.pop_first()
            && longest.send(()).is_ok()
        {
            self.leaving += 1;
        }
        Some(given)
    }

    /// A look-up has kept its place as long as it may: it waits until others need it. None: they do.
    fn be_patient(&mut self) -> Option<(u64, oneshot::Receiver<()>)> {
        if self.need.len() > self.leaving {
            self.leaving += 1;
            return None;
        }
        self.next += 1;
        let (tell, told) = oneshot::channel();
        self.patient.insert(self.next, tell);
        Some((self.next, told))
    }
}

impl Shared {
    fn turns(&self) -> MutexGuard<'_, Queue> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slow(&self) -> MutexGuard<'_, Slow> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Takes a turn; if none is free, returns where one will be given.
    fn enter(&mut self, stream: &Name) -> Option<oneshot::Receiver<Turn>> {
        if self.free > 0 {
            self.free -= 1;
            return None;
        }
        let (give, given) = oneshot::channel();
        let waiting = self.waiting.entry(stream.clone()).or_default();
        waiting.push_back(give);
        if waiting.len() == 1 {
            self.round.push_back(stream.clone());
        }
        Some(given)
    }

    /// The look-up whose turn is next: of each stream one, round and round.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let stream = self.round.pop_front()?;
        let waiting = self.waiting.get_mut(&stream)?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&stream);
        } else {
            self.round.push_back(stream);
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(shared) = self.0.take() else { return };
        loop {
            let mut queue = shared.turns();
            let Some(next) = queue.next() else {
                queue.free += 1;
                return;
            };
            drop(queue);
            match next.send(Turn(Some(shared.clone()))) {
                Ok(()) => return,
                // Nobody waits for this one any more: its turn is the next one's.
                Err(mut unclaimed) => drop(unclaimed.0.take()),
            }
        }
    }
}

impl Place {
    fn give_way(mut self) {
        self.gives_way = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(shared) = self.of.take() else { return };
        let mut leaves = usize::from(self.gives_way);
        loop {
            let mut slow = shared.slow();
            slow.leaving -= std::mem::take(&mut leaves);
            let Some(next) = slow.need.pop_front() else {
                slow.free += 1;
                return;
            };
            drop(slow);
            match next.send(Place { of: Some(shared.clone()), gives_way: false }) {
                Ok(()) => return,
                // Its look-up was answered meanwhile.
                Err(mut unclaimed) => drop(unclaimed.of.take()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::JoinHandle;

    use super::*;

    fn begin(turns: &Turns, stream: &str, lives: bool) -> JoinHandle<Result<(), GaveWay>> {
        let (turns, stream) = (turns.clone(), Name::new(stream).unwrap());
        tokio::spawn(async move {
            turns
                .take(&stream, async {
                    if lives {
                    } else {
                        pending().await
                    }
                })
                .await
        })
    }

    #[tokio::test(start_paused = true)]
    async fn thousands_of_dead_servers_delay_living_ones_by_seconds() {
        let turns = Turns::new(256);
        let dead: Vec<_> = (0..4000).map(|_| begin(&turns, "default", false)).collect();
        tokio::task::yield_now().await;
        let living = timeout(Duration::from_secs(6), begin(&turns, "default", true));
        assert_eq!(living.await.expect("a living one is soon answered").unwrap(), Ok(()));
        // Those with places wait as long as nobody needs them.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let (gave_way, wait): (Vec<_>, Vec<_>) = dead.into_iter().partition(JoinHandle::is_finished);
        assert_eq!(wait.len(), 256 * SLOW);
        for ended in gave_way {
            assert_eq!(ended.await.unwrap(), Err(GaveWay));
        }
        wait.iter().for_each(JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn a_streams_look_ups_wait_behind_one_of_each_other_stream() {
        let turns = Turns::new(2);
        let dead: Vec<_> = (0..100).map(|_| begin(&turns, "bulk", false)).collect();
        tokio::task::yield_now().await;
        let living = timeout(2 * PATIENCE, begin(&turns, "resets", true));
        assert_eq!(living.await.expect("its stream's turn is next").unwrap(), Ok(()));
        dead.iter().for_each(JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_of_those_who_left_are_not_lost() {
        let turns = Turns::new(1);
        let first = begin(&turns, "default", false);
        let waiting: Vec<_> = (0..3).map(|_| begin(&turns, "default", false)).collect();
        tokio::task::yield_now().await;
        waiting.iter().chain([&first]).for_each(JoinHandle::abort);
        tokio::task::yield_now().await;
        assert_eq!(timeout(PATIENCE, begin(&turns, "default", true)).await.unwrap().unwrap(), Ok(()));
    }
}
