//! Measures the time of one recipient (admit and settle) over a thousand lanes. Run it with `--release`.

use std::{sync::Arc, time::Instant};

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::{Admission, Curve, Governor, LaneKey, Outcome, Plan, Shape, Stage};

const LANES: usize = 1_000;
const ROUNDS: usize = 2_000;

#[allow(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures time and prints it")]
fn main() {
    let rate = std::num::NonZeroU32::new(1_000_000);
    for (what, cap, shape) in [
        ("capped", 2_000_000, Shape::default()),
        ("capped and shaped", 2_000_000, Shape { second: rate, minute: rate, hour: rate, day: rate }),
        ("refused", 1, Shape::default()),
    ] {
        let plan = Arc::new(Plan::new("cost", Curve::new([cap]).expect("a cap above 0")));
        let mut now: Timestamp = "2026-11-23T12:00:00Z".parse().expect("a time");
        let mut governor = Governor::new();
        let lanes: Vec<_> =
            (0..LANES).map(|lane| governor.open(&LaneKey::new("ip1", &lane.to_string()), &plan, Stage::FIRST, shape, now)).collect();
        let (mut went, mut held, start) = (0u64, 0u64, Instant::now());
        for _ in 0..ROUNDS {
            now = now.saturating_add(SignedDuration::from_millis(20)).expect("within range");
            for lane in &lanes {
                match governor.admit(*lane, 1, now) {
                    Admission::Go(permit) => {
                        governor.settle(permit, Outcome::Accepted, now);
                        went += 1;
                    }
                    Admission::NotBefore(..) => held += 1,
                }
            }
            governor.take_batch();
        }
        let each = start.elapsed().as_nanos() / (LANES * ROUNDS) as u128;
        println!("{what}: {each} ns a recipient ({went} went, {held} held)");
    }
}
