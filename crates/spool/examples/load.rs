//! Puts load on a spool and prints measurements.
//!
//! `load DIR [seconds=10] [writers=64] [size=10240]`: each writer stores a message, waits until it is durable, and removes it.
//! With a fifth argument N, every Nth message stays until the writer has kept 20 later ones.
//! `load DIR fill COUNT SIZE META`: stores COUNT messages, iterates over them, closes.
//! `load DIR open`: opens, iterates over all messages, closes. `load DIR spoil`: the same, but leaves the spool as after a crash.
//! `load DIR drain`: opens, reads and removes all messages, closes.

use std::{
    env, fs,
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use posthaste_mail::MessageId;
use posthaste_spool::{Spool, SpoolOptions};
use tokio::task::JoinSet;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(default, |text| text.parse().expect("a number"));
    let dir = arguments.first().expect("the spool's folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime");
    let dir = Path::new(dir);
    match arguments.get(1).map(String::as_str) {
        Some("fill") => fill(dir, &runtime, number(2, 50_000), number(3, 2048), number(4, 200)),
        Some("open") => close(&open_and_walk(dir), dir),
        Some("spoil") => drop(open_and_walk(dir)),
        Some("drain") => drain(dir, &runtime),
        _ => {
            let seconds = Duration::from_secs(number(1, 10) as u64);
            runtime.block_on(store_and_remove(dir, seconds, number(2, 64), number(3, 10_240), number(4, 0)));
        }
    }
}

async fn store_and_remove(dir: &Path, span: Duration, writers: usize, size: usize, keep: usize) {
    let (spool, _) = Spool::open(dir, SpoolOptions::default(), now).expect("an open spool");
    let body = Bytes::from(vec![b'x'; size]);
    let stop = Arc::new(AtomicBool::new(false));
    let (began, cpu, written) = (now(), cpu_micros(), written_bytes());
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        tasks.spawn(writer_task(spool.clone(), writer, body.clone(), keep as u128, stop.clone()));
    }
    tokio::time::sleep(span).await;
    stop.store(true, Relaxed);
    let mut times: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let (took, cpu, written) = (began.elapsed(), cpu_micros() - cpu, written_bytes() - written);
    times.sort_unstable();
    let count = times.len() as f64;
    let percentile = |share: f64| times[((count - 1.0) * share) as usize].as_secs_f64() * 1e3;
    say(&format!(
        "{:.0} messages/s, p50 {:.1} ms, p99 {:.1} ms, {:.1} µs CPU a message, {:.2} bytes written a byte, RSS {} MiB, log {} MiB",
        count / took.as_secs_f64(),
        percentile(0.5),
        percentile(0.99),
        cpu / count,
        written / (count * size as f64),
        rss_mib(),
        du_mib(&dir.join("log"))
    ));
    let began = now();
    spool.close().expect("an orderly stop");
    say(&format!("close {:?}", began.elapsed()));
}

async fn writer_task(spool: Spool, writer: usize, body: Bytes, keep: u128, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let meta = Bytes::from(vec![b'm'; 200]);
    let (mut times, mut kept) = (Vec::new(), std::collections::VecDeque::new());
    for n in 0u128.. {
        if stop.load(Relaxed) {
            break;
        }
        let began = now();
        let id = MessageId::from_bytes((((writer as u128) << 64) | n).to_be_bytes());
        let seq = spool.store(id, meta.clone(), vec![body.clone()]).await.expect("a durable message");
        times.push(began.elapsed());
        if keep > 0 && n % keep == 0 {
            kept.push_back(seq);
            kept.drain(..kept.len().saturating_sub(20)).for_each(|seq| spool.remove(seq));
        } else {
            spool.remove(seq);
        }
    }
    times
}

fn fill(dir: &Path, runtime: &tokio::runtime::Runtime, count: usize, size: usize, meta: usize) {
    let spool = open(dir);
    let (began, cpu) = (now(), cpu_micros());
    runtime.block_on(fill_with(&spool, count, size, meta));
    let cpu = (cpu_micros() - cpu) / count as f64;
    say(&format!(
        "stored {count} in {:?}, {cpu:.1} µs CPU each, RSS {} MiB, log {} MiB",
        began.elapsed(),
        rss_mib(),
        du_mib(&dir.join("log"))
    ));
    walk(&spool);
    close(&spool, dir);
}

fn drain(dir: &Path, runtime: &tokio::runtime::Runtime) {
    let spool = open(dir);
    let (began, cpu) = (now(), cpu_micros());
    let mut seqs = Vec::new();
    spool.for_each(|live| seqs.push(live.seq)).expect("a readable index");
    for seq in &seqs {
        drop(spool.body(*seq).expect("a readable body"));
        spool.remove(*seq);
    }
    runtime.block_on(spool.sync()).expect("a durable end");
    let cpu = (cpu_micros() - cpu) / seqs.len() as f64;
    say(&format!(
        "read and removed all in {:?}, {cpu:.1} µs CPU each, RSS {} MiB, log {} MiB",
        began.elapsed(),
        rss_mib(),
        du_mib(&dir.join("log"))
    ));
    close(&spool, dir);
}

fn close(spool: &Spool, dir: &Path) {
    let began = now();
    spool.close().expect("an orderly stop");
    say(&format!("close {:?}, index {} MiB, RSS {} MiB", began.elapsed(), du_mib(&dir.join("index")), rss_mib()));
}

fn open_and_walk(dir: &Path) -> Spool {
    let spool = open(dir);
    walk(&spool);
    spool
}

fn open(dir: &Path) -> Spool {
    let before = rss_mib();
    let (spool, recovery) = Spool::open(dir, SpoolOptions::default(), now).expect("an open spool");
    say(&format!("open: {recovery:?}, RSS {before} -> {} MiB", rss_mib()));
    spool
}

fn walk(spool: &Spool) {
    let began = now();
    let seen = spool.for_each(drop).expect("a readable index");
    say(&format!("for_each saw {seen} in {:?}, RSS {} MiB", began.elapsed(), rss_mib()));
}

async fn fill_with(spool: &Spool, count: usize, size: usize, meta: usize) {
    let (body, meta) = (Bytes::from(vec![b'x'; size]), Bytes::from(vec![b'm'; meta]));
    let mut tasks = JoinSet::new();
    for n in 0..count {
        if tasks.len() >= 256 {
            tasks.join_next().await;
        }
        let id = MessageId::from_bytes((n as u128).to_be_bytes());
        let stored = spool.store(id, meta.clone(), vec![body.clone()]);
        tasks.spawn(async move { stored.await.expect("a durable message") });
    }
    tasks.join_all().await;
}

fn say(text: &str) {
    std::io::stdout().write_all(format!("{text}\n").as_bytes()).expect("a readable stdout");
}

#[expect(clippy::disallowed_methods, reason = "a measurement needs the clock")]
fn now() -> Instant {
    Instant::now()
}

/// User and system time of all threads.
fn cpu_micros() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat.rsplit(')').next().unwrap_or("").split(' ').filter_map(|field| field.parse().ok()).collect();
    // utime and stime, in ticks of 10 ms; the state before them is not a number.
    (fields[10] + fields[11]) * 1e4
}

fn proc_value(file: &str, key: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

fn written_bytes() -> f64 {
    proc_value("/proc/self/io", "write_bytes:")
}

fn rss_mib() -> u64 {
    (proc_value("/proc/self/status", "VmRSS:") / 1024.0) as u64
}

fn du_mib(dir: &Path) -> u64 {
    fs::read_dir(dir)
        .map_or(0, |entries| entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum::<u64>() >> 20)
}
