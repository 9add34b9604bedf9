//! The signer threads. An RSA signature occupies a core for a fraction of a millisecond, or two. Threads of its own keep that work from
//! delaying anything but the mail that is signed.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::{mpsc, oneshot};

/// Jobs that wait for a thread. When there are this many, callers wait before they can add one, and their clients with them.
const WAITING_MAX: usize = 64;
/// Where cores are short, the threads that talk to clients and receivers run first.
const NICENESS: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads for work that only computes. Clones share them; the threads end when the last clone is dropped.
#[derive(Clone)]
pub struct SignerThreads(mpsc::Sender<Job>);

/// The job panicked; the panic message is on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signer thread panicked")]
pub struct Panicked;

impl SignerThreads {
    /// Starts the threads.
    pub fn start(threads: usize) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..threads {
            let waiting = waiting.clone();
            thread::Builder::new().name(format!("signer-{number}")).spawn(move || work(&waiting))?;
        }
        Ok(Self(jobs))
    }

    /// Runs `task` on one of the threads when its turn comes. A task whose caller has gone away meanwhile is skipped.
    pub async fn run<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
        let (answer, answered) = oneshot::channel();
        let job = move || {
            if !answer.is_closed() {
                drop(answer.send(task()));
            }
        };
        self.0.send(Box::new(job)).await.map_err(|_| Panicked)?;
        answered.await.map_err(|_| Panicked)
    }
}

fn work(waiting: &Mutex<mpsc::Receiver<Job>>) {
    // On Linux niceness belongs to the thread. If it cannot be set, the thread works all the same.
    let _ = rustix::process::nice(NICENESS);
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = next else { return };
        // The caller gets an error, because the answer's sender is dropped; the thread goes on with the next job.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use super::*;

    #[tokio::test]
    async fn work_is_done_and_a_panic_is_an_error_that_costs_no_thread() {
        let threads = SignerThreads::start(1).unwrap();
        assert_eq!(threads.run(|| 1 + 1).await, Ok(2));
        assert_eq!(threads.run(|| -> u8 { panic!("on purpose") }).await, Err(Panicked));
        assert_eq!(threads.run(|| 3).await, Ok(3));
    }

    #[tokio::test]
    async fn no_more_is_done_at_once_than_there_are_threads_and_the_runtime_goes_on() {
        let threads = SignerThreads::start(2).unwrap();
        let (lock, at_work) = (Arc::new(Mutex::new(())), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
        // Held by a thread of its own, until told to let go.
        let (open, opened) = std_mpsc::channel::<()>();
        let (shut, is_shut) = std_mpsc::channel();
        let holder = {
            let lock = lock.clone();
            std::thread::spawn(move || {
                let _closed = lock.lock().unwrap();
                shut.send(()).unwrap();
                let _ = opened.recv();
            })
        };
        is_shut.recv().unwrap();
        let (began, begins) = std_mpsc::channel();
        let jobs: Vec<_> = (0..WAITING_MAX + 10)
            .map(|_| {
                let (threads, lock, at_work, began) = (threads.clone(), lock.clone(), at_work.clone(), began.clone());
                tokio::spawn(async move {
                    let job = move || {
                        at_work.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        let _ = began.send(());
                        drop(lock.lock());
                    };
                    threads.run(job).await
                })
            })
            .collect();
        // This task and the jobs' tasks share one thread of the runtime: it comes back here although every signer thread is blocked.
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
