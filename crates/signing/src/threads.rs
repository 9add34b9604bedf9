//! The threads that sign. RSA takes a core for a fraction of a millisecond a message, or two: that work has threads of its own, so
//! that it holds up nothing but the mail that it is for.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::{mpsc, oneshot};

/// Work that waits for a thread. What comes beyond waits outside, with its client.
const WAITING_MAX: usize = 64;
/// The threads give way to those that speak with clients and receivers, where cores are short.
const NICENESS: i32 = 5;

type Work = Box<dyn FnOnce() + Send>;

/// A fixed number of threads for work that only computes. Clones share them; they end with the last one.
#[derive(Clone)]
pub struct SignerThreads(mpsc::Sender<Work>);

/// The work panicked, which has been said on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work broke down")]
pub struct BrokeDown;

impl SignerThreads {
    /// Starts the threads.
    pub fn start(threads: usize) -> io::Result<Self> {
        let (door, waiting) = mpsc::channel(WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..threads {
            let waiting = waiting.clone();
            thread::Builder::new().name(format!("signer-{number}")).spawn(move || work(&waiting))?;
        }
        Ok(Self(door))
    }

    /// Does this on one of the threads, when its turn comes. Nothing is done for a caller who went away meanwhile.
    pub async fn run<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> Result<T, BrokeDown> {
        let (tell, told) = oneshot::channel();
        let work = move || {
            if !tell.is_closed() {
                drop(tell.send(task()));
            }
        };
        self.0.send(Box::new(work)).await.map_err(|_| BrokeDown)?;
        told.await.map_err(|_| BrokeDown)
    }
}

fn work(waiting: &Mutex<mpsc::Receiver<Work>>) {
    // On Linux niceness belongs to the thread. Without it the work is done all the same.
    let _ = rustix::process::nice(NICENESS);
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(work) = next else { return };
        // Whoever waits for the answer hears that there is none; the next one's work is not to suffer.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use super::*;

    #[tokio::test]
    async fn work_is_done_and_a_panic_is_an_error_that_costs_no_thread() {
        let crew = SignerThreads::start(1).unwrap();
        assert_eq!(crew.run(|| 1 + 1).await, Ok(2));
        assert_eq!(crew.run(|| -> u8 { panic!("on purpose") }).await, Err(BrokeDown));
        assert_eq!(crew.run(|| 3).await, Ok(3));
    }

    #[tokio::test]
    async fn no_more_is_done_at_once_than_there_are_threads_and_the_runtime_goes_on() {
        let crew = SignerThreads::start(2).unwrap();
        let (gate, at_work) = (Arc::new(Mutex::new(())), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
        // Held by a thread of its own, until told to let go.
        let (open, opened) = std_mpsc::channel::<()>();
        let (shut, is_shut) = std_mpsc::channel();
        let holder = {
            let gate = gate.clone();
            std::thread::spawn(move || {
                let _closed = gate.lock().unwrap();
                shut.send(()).unwrap();
                let _ = opened.recv();
            })
        };
        is_shut.recv().unwrap();
        let (began, begins) = std_mpsc::channel();
        let jobs: Vec<_> = (0..WAITING_MAX + 10)
            .map(|_| {
                let (crew, gate, at_work, began) = (crew.clone(), gate.clone(), at_work.clone(), began.clone());
                tokio::spawn(async move {
                    let job = move || {
                        at_work.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        let _ = began.send(());
                        drop(gate.lock());
                    };
                    crew.run(job).await
                })
            })
            .collect();
        // This task and the jobs' share one thread of the runtime: it comes back here although every thread of the crew stands still.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        tokio::task::spawn_blocking(move || (begins.recv(), begins.recv())).await.unwrap().1.unwrap();
        assert_eq!(at_work.load(std::sync::atomic::Ordering::SeqCst), 2);
        drop(open);
        holder.join().unwrap();
        for job in jobs {
            job.await.unwrap().unwrap();
        }
        assert_eq!(at_work.load(std::sync::atomic::Ordering::SeqCst), WAITING_MAX + 10);
    }
}
