//! The list takes no more memory than it counts, and no more than it may. A process of its own, since it measures itself.

use std::fs;

use jiff::Timestamp;
use posthaste_mail::{Address, Name};
use posthaste_spool::Facts;
use posthaste_suppression::{Breadth, EntrySource, List, Over, Reason, Register, SuppressionEntry, SuppressionRules};

const ENTRIES: usize = 1_000_000;
const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const MIB: u64 = 1 << 20;
/// What the process takes for other things meanwhile, and what the allocator keeps of parts that were given up: unlike the relay's
/// (`host/src/malloc.rs`), that of this process puts large blocks among small ones.
const REST: u64 = 3 * MIB;

/// A disk that holds every entry and takes no memory.
struct Disk;

impl Facts for Disk {
    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some(serde_json::to_vec(&entry(0)).unwrap())
    }
    fn put(&self, _: &[u8], _: &[u8]) {}
    fn delete(&self, _: &[u8]) {}
    fn scan(&self, _: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        Vec::new()
    }
}

fn entry(n: usize) -> SuppressionEntry {
    let address = Address::new(&format!("subscriber{n}@domain{}.example", n % 5_000)).unwrap();
    SuppressionEntry::new(address, Breadth::Global, Reason::Manual, NOW, None, EntrySource::default())
}

/// Lists a million addresses in so much memory. Returns what they are counted as, and by how much the process grew at most, in bytes.
fn listed(most: u64) -> (u64, u64) {
    let status = |line: &str| -> u64 {
        let text = fs::read_to_string("/proc/self/status").unwrap();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':')).unwrap();
        value.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    };
    // 5 sets the peak back to what is taken now (proc_pid_clear_refs(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    let (register, rules) = (Register::with_memory(Disk, most), SuppressionRules::default());
    let list = List::new(&register, &rules);
    for n in 0..ENTRIES {
        list.add(&entry(n), Over::Any, NOW);
    }
    register.fill();
    let stream = Name::new("news").unwrap();
    let is_listed = |n: usize| list.look_up(&entry(n).address, &stream, None, NOW).is_some();
    assert!((0..ENTRIES).step_by(97).all(is_listed), "from memory or from the disk");
    (register.memory(), status("VmHWM").saturating_sub(before))
}

#[test]
fn a_million_entries_take_what_is_counted_and_no_more_than_the_limit() {
    let (counted, used) = listed(64 * MIB);
    assert!(used <= counted + REST && counted <= 64 * MIB, "counted {counted}, used {used}");
    assert!(counted > 16 * ENTRIES as u64, "all of them are in memory: {counted}");
    let (counted, used) = listed(8 * MIB);
    assert!(counted <= 8 * MIB && used <= 8 * MIB + REST, "counted {counted}, used {used}");
    assert!(counted > 2 * MIB, "a part of them is in memory: {counted}");
}
