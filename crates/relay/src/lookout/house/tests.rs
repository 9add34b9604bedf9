use super::*;

/// 2026-11-25T12:00:00Z and so many seconds.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_608_000 + seconds).unwrap()
}

#[test]
fn a_disk_has_a_pace_once_an_hour_was_seen() {
    let mut samples = Samples::default();
    let mut free = |minute: i64, free: u64| samples.shrinks_by(free, at(60 * minute));
    assert_eq!([free(0, 10_000), free(30, 9_000), free(59, 8_000)], [None; 3]);
    assert_eq!(free(60, 9_000), Some(24_000), "a thousand bytes in an hour");
    assert_eq!(free(90, 10_000), None, "it does not fill");
    assert_eq!(free(7 * 60, 7_000), Some((10_000 - 7_000) * 24 * 60 / 330), "that of the last six hours");
    // The clock goes back by five hours: what was measured ahead of it says nothing.
    assert_eq!([free(120, 6_000), free(151, 5_000)], [None, Some((10_000 - 5_000) * 24 * 60 / 61)]);
}

#[test]
fn a_clock_steps_if_the_other_one_does_not() {
    let (mut clock, begin) = (Clock::default(), clock::instant());
    let mut step =
        |wall: i64, monotonic: u64| clock.step(at(wall), begin + Duration::from_secs(monotonic)).map(|step| (step.at, step.seconds));
    assert_eq!(step(0, 0), None);
    assert_eq!(step(10, 10), None);
    assert_eq!(step(21, 20), None, "a second is none");
    assert_eq!(step(3631, 30), Some((at(3631), 3600)));
    assert_eq!(step(3641, 40), None, "told once");
    assert_eq!(step(51, 50), Some((at(51), -3600)));
}

#[test]
fn lines_are_behind_until_those_that_were_known_are_durable() {
    let mut lines = Lines::default();
    let mut behind = |appended, durable, second| lines.behind((appended, durable), at(second)).as_secs();
    assert_eq!(behind(10, 10, 0), 0);
    assert_eq!(behind(20, 12, 10), 0, "known just now");
    assert_eq!([behind(90, 12, 20), behind(99, 19, 900)], [10, 890]);
    assert_eq!(behind(99, 20, 910), 0, "those ten are durable; others wait since then");
    assert_eq!(behind(99, 20, 930), 20);
    assert_eq!([behind(99, 20, 900), behind(99, 20, 905)], [0, 5], "the clock went back");
    assert_eq!(behind(99, 99, 940), 0);
}
