//! How fast a search goes on, so that the mail has the machine.

use std::time::Duration;

/// Says how long to wait after each step of a search: at first not at all, so that the first rows come at once; then as long as the step took,
/// so that a long search has half a processor and half of what the disk gives to one reader.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    worked: Duration,
}

/// For so long a search works without rests. A look at the newest lines, or at few blocks, is done by then.
const FREE: Duration = Duration::from_millis(500);

impl Pace {
    /// The rest after a step that took so long.
    pub fn rest(&mut self, took: Duration) -> Duration {
        self.worked = self.worked.saturating_add(took);
        if self.worked <= FREE { Duration::ZERO } else { took }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_steps_follow_each_other_and_later_ones_take_half_of_the_time() {
        let mut pace = Pace::default();
        let step = Duration::from_millis(100);
        let rests: Vec<u64> = (0..7).map(|_| pace.rest(step).as_millis() as u64).collect();
        assert_eq!(rests, [0, 0, 0, 0, 0, 100, 100]);
    }
}
