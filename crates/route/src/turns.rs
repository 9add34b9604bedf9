//! Turns of DNS questions: so many at once, handed round those who ask, and places for those that wait for slow name servers.
//!
//! A question is what holds a turn, not a look-up, because a question is what needs a socket: whoever has a turn asks at once. Limits of
//! look-ups and of questions that differ would let the questions of dead domains hold up those of others that have their turn.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

/// How long a question keeps its turn. Servers that live answer sooner; who waits for others is not to hold up those that ask living ones.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a question that left its turn keeps its place, even if others need it.
const PLACE_KEPT: Duration = Duration::from_millis(800);
/// How many questions may wait for slow servers, for each that has a turn.
const SLOW: usize = 3;

/// The turns and places of all questions.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Shared>);

/// On whose behalf questions are asked.
#[derive(Clone, Debug)]
pub struct Asker {
    turns: Turns,
    who: u32,
    doubtful: bool,
}

#[derive(Debug)]
struct Shared {
    turns: Mutex<Queue>,
    slow: Mutex<Slow>,
}

/// Those that have a place or need one.
#[derive(Debug)]
struct Slow {
    free: usize,
    /// Questions that have had their turn and need a place.
    need: VecDeque<oneshot::Sender<Place>>,
    /// Questions that are about to give up their places.
    leaving: usize,
    /// Questions that give up their places when others need them, the longest-waiting first.
    patient: BTreeMap<u64, oneshot::Sender<()>>,
    /// The number for the next of them.
    next: u64,
}

/// Who has a turn and who waits for one.
#[derive(Debug)]
struct Queue {
    free: usize,
    waiting: HashMap<u32, Line>,
    /// Those that wait; the next turn is the first one's.
    round: VecDeque<u32>,
}

/// The questions of one who asks.
#[derive(Debug, Default)]
struct Line {
    fresh: VecDeque<oneshot::Sender<Turn>>,
    /// Those about names whose servers gave no answer the last time.
    doubtful: VecDeque<oneshot::Sender<Turn>>,
    given: u8,
}

/// A turn; when dropped, it is the next one's.
#[derive(Debug)]
struct Turn(Option<Arc<Shared>>);

/// A place; when dropped, it is the next one's.
#[derive(Debug)]
struct Place {
    of: Option<Arc<Shared>>,
    /// Whether its question was told to leave.
    gives_way: bool,
}

/// A question gave its place to others before the name servers answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its name servers did not answer within {:?}, and other look-ups needed the place", Self::AFTER)]
pub(crate) struct GaveWay;

impl GaveWay {
    /// How long its name servers had.
    const AFTER: Duration = PATIENCE.saturating_add(PLACE_KEPT);
}

impl Turns {
    /// The most questions at once, those that wait for slow servers included, for each that may have a turn.
    pub const QUESTIONS: usize = 1 + SLOW;

    /// So many at once, besides those that wait for slow servers.
    pub fn new(most: usize) -> Self {
        let queue = Queue { free: most, waiting: HashMap::new(), round: VecDeque::new() };
        let slow = Slow { free: most * SLOW, need: VecDeque::new(), leaving: 0, patient: BTreeMap::new(), next: 0 };
        Self(Arc::new(Shared { turns: Mutex::new(queue), slow: Mutex::new(slow) }))
    }

    /// One that asks, with a number: those with the same number share a place in the round. `doubtful`: the name servers gave no answer the
    /// last time, so others go first.
    pub fn asker(&self, who: u32, doubtful: bool) -> Asker {
        Asker { turns: self.clone(), who, doubtful }
    }
}

impl Asker {
    /// Asks a question when its turn has come. One that takes long leaves its turn to the next and takes a place among the slow ones; when
    /// there are too many of those, the one that has waited longest gives way.
    pub(crate) async fn take<T, F: Future<Output = T>>(&self, ask: impl FnOnce() -> F) -> Result<T, GaveWay> {
        let shared = &self.turns.0;
        let turn = self.turn().await;
        // In memory of its own from now on: of hundreds of thousands that wait for their turn, each takes little.
        let mut asked = Box::pin(ask());
        if let Ok(answer) = timeout(PATIENCE, &mut asked).await {
            return Ok(answer);
        }
        let place = tokio::select! {
            biased;
            answer = &mut asked => return Ok(answer),
            place = self.place() => place,
        };
        drop(turn);
        if let Ok(answer) = timeout(PLACE_KEPT, &mut asked).await {
            return Ok(answer);
        }
        let Some((number, told)) = shared.slow().be_patient() else {
            place.give_way();
            return Err(GaveWay);
        };
        tokio::select! {
            biased;
            answer = &mut asked => {
                // It may have been told just now.
                if shared.slow().patient.remove(&number).is_none() {
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

    async fn turn(&self) -> Turn {
        let given = self.turns.0.turns().enter(self.who, self.doubtful);
        match given {
            None => Turn(Some(self.turns.0.clone())),
            Some(given) => given.await.expect("who waits gets a turn"),
        }
    }

    async fn place(&self) -> Place {
        let given = self.turns.0.slow().enter();
        match given {
            None => Place { of: Some(self.turns.0.clone()), gives_way: false },
            Some(given) => given.await.expect("who needs a place gets one"),
        }
    }
}

impl Slow {
    /// Takes a place; if none is free, the question that has waited longest is told to leave. Returns where one will be given.
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

    /// A question has kept its place as long as it may: it waits until others need it. None: they do.
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
    fn enter(&mut self, who: u32, doubtful: bool) -> Option<oneshot::Receiver<Turn>> {
        if self.free > 0 {
            self.free -= 1;
            return None;
        }
        let (give, given) = oneshot::channel();
        let line = self.waiting.entry(who).or_insert_with(|| {
            self.round.push_back(who);
            Line::default()
        });
        if doubtful { &mut line.doubtful } else { &mut line.fresh }.push_back(give);
        Some(given)
    }

    /// The question whose turn is next: one of each that asks, round and round.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let who = self.round.pop_front()?;
        let line = self.waiting.get_mut(&who)?;
        let next = line.next();
        if line.fresh.is_empty() && line.doubtful.is_empty() {
            self.waiting.remove(&who);
        } else {
            self.round.push_back(who);
        }
        next
    }
}

impl Line {
    /// Of four turns, two are for the newest, which need not wait for thousands of dead ones that came before, one for the oldest, and one
    /// for a doubtful one.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        self.given = (self.given + 1) % 4;
        match self.given {
            0 => self.doubtful.pop_front().or_else(|| self.fresh.pop_front()),
            2 => self.fresh.pop_front().or_else(|| self.doubtful.pop_front()),
            _ => self.fresh.pop_back().or_else(|| self.doubtful.pop_front()),
        }
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
                // Its question was answered meanwhile.
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

    fn ask(asker: Asker, lives: bool) -> JoinHandle<Result<(), GaveWay>> {
        let answer = async move {
            if !lives {
                pending().await
            }
        };
        tokio::spawn(async move { asker.take(|| answer).await })
    }

    fn begin(turns: &Turns, who: u32, lives: bool) -> JoinHandle<Result<(), GaveWay>> {
        ask(turns.asker(who, false), lives)
    }

    #[tokio::test(start_paused = true)]
    async fn thousands_of_dead_servers_delay_living_ones_by_an_instant() {
        let turns = Turns::new(256);
        let dead: Vec<_> = (0..5000).map(|_| begin(&turns, 0, false)).collect();
        tokio::task::yield_now().await;
        let living: Vec<_> = (0..40).map(|_| begin(&turns, 0, true)).collect();
        for one in living {
            assert_eq!(timeout(3 * PATIENCE, one).await.expect("a living one is soon answered").unwrap(), Ok(()));
        }
        // Those with places wait as long as nobody needs them.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let (gave_way, wait): (Vec<_>, Vec<_>) = dead.into_iter().partition(JoinHandle::is_finished);
        assert_eq!(wait.len(), 256 * SLOW);
        for ended in gave_way {
            assert_eq!(ended.await.unwrap(), Err(GaveWay));
        }
        wait.iter().for_each(JoinHandle::abort);
    }

    /// Dead names are asked for again and again, more often than there are turns for them.
    #[tokio::test(start_paused = true)]
    async fn names_that_gave_no_answer_wait_behind_the_others_and_are_asked_for_all_the_same() {
        let turns = Turns::new(64);
        let dead: Vec<_> = (0..100_000).map(|_| ask(turns.asker(0, true), false)).collect();
        tokio::task::yield_now().await;
        for _ in 0..100 {
            let again: Vec<_> = (0..100).map(|_| ask(turns.asker(0, true), false)).collect();
            tokio::task::yield_now().await;
            let living = timeout(3 * PATIENCE, begin(&turns, 0, true));
            assert_eq!(living.await.expect("it goes before all of them").unwrap(), Ok(()));
            again.iter().for_each(JoinHandle::abort);
        }
        assert!(dead.iter().filter(|one| one.is_finished()).count() > 1000);
        dead.iter().for_each(JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn questions_wait_behind_one_of_each_other_asker() {
        let turns = Turns::new(2);
        let dead: Vec<_> = (0..100).map(|_| begin(&turns, 1, false)).collect();
        tokio::task::yield_now().await;
        let living = timeout(2 * PATIENCE, begin(&turns, 2, true));
        assert_eq!(living.await.expect("its turn is next").unwrap(), Ok(()));
        dead.iter().for_each(JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_of_those_who_left_are_not_lost() {
        let turns = Turns::new(1);
        let first = begin(&turns, 0, false);
        let waiting: Vec<_> = (0..3).map(|_| begin(&turns, 0, false)).collect();
        tokio::task::yield_now().await;
        waiting.iter().chain([&first]).for_each(JoinHandle::abort);
        tokio::task::yield_now().await;
        assert_eq!(timeout(PATIENCE, begin(&turns, 0, true)).await.unwrap().unwrap(), Ok(()));
    }
}
