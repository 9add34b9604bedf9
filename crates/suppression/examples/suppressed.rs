//! Measures look-ups in a suppression list on disk, for listed and unlisted addresses:
//! `cargo run --release -p posthaste-suppression --example suppressed -- [ENTRIES=1000000]`.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::{hint::black_box, time::Instant};

use jiff::Timestamp;
use posthaste_mail::{Address, Class, Name};
use posthaste_spool::{Spool, SpoolOptions};
use posthaste_suppression::{Breadth, EntrySource, List, Over, Reason, Register, SuppressionEntry, SuppressionRules};

const LOOKS: usize = 200_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(1_000_000), |n| n.parse())?;
    let dir = tempfile::tempdir()?;
    let rules = SuppressionRules::default();
    let now = Timestamp::now();
    let open = || Spool::open(dir.path(), SpoolOptions::default(), Instant::now).map(|(spool, _)| Register::new(spool));
    let register = open()?;
    let began = Instant::now();
    for n in 0..count {
        let source =
            EntrySource { class: Some(Class::InvalidRecipient), text: Some("550 5.1.1 user unknown".into()), ..EntrySource::default() };
        let entry = SuppressionEntry::new(address(n), Breadth::Global, Reason::HardBounce, now, None, source);
        List::new(&register, &rules).add(&entry, Over::Any, now);
    }
    register.facts().close()?;
    println!("{count} entries written in {:.1} s", began.elapsed().as_secs_f64());
    drop(register);

    let register = open()?;
    let list = List::new(&register, &rules);
    measure(&list, "before the filling", count, LOOKS / 100, now);
    let began = Instant::now();
    register.fill();
    println!("filled in {:.1} s", began.elapsed().as_secs_f64());
    measure(&list, "filled", count, LOOKS, now);
    register.facts().close()?;
    Ok(())
}

/// Spreads look-ups over the whole list, so that caches do not flatter the figures.
fn measure(list: &List<'_, Spool>, when: &str, count: usize, looks: usize, now: Timestamp) {
    let stream = Name::new("news").expect("a name");
    for (what, from) in [("hit", 0), ("miss", count)] {
        let asked: Vec<Address> = (0..looks).map(|n| address(from + n.wrapping_mul(7_919) % count)).collect();
        let began = Instant::now();
        let found = asked.iter().filter(|a| black_box(list.look_up(a, &stream, None, now)).is_some()).count();
        println!("{when}: a {what} takes {:.2} µs ({found} of {looks} found)", began.elapsed().as_secs_f64() * 1e6 / looks as f64);
    }
}

fn address(n: usize) -> Address {
    Address::new(&format!("subscriber{n}@domain{}.example", n % 5_000)).expect("an address")
}
