//! Whether something works, so that it is said once when it fails and once when it works again.

/// Whether something works.
#[derive(Debug, Clone, Default)]
pub struct Health {
    failed: u32,
    told: bool,
}

/// What an operator should hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It has failed.
    Fails,
    /// It works again.
    Works,
}

impl Health {
    /// Hears how the last attempt went; `patience`: how many failures in a row are news. Something to tell comes back once.
    pub fn heard(&mut self, works: bool, patience: u32) -> Option<News> {
        if works {
            self.failed = 0;
            return std::mem::take(&mut self.told).then_some(News::Works);
        }
        self.failed = self.failed.saturating_add(1);
        if self.told || self.failed < patience {
            return None;
        }
        self.told = true;
        Some(News::Fails)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_and_so_is_its_end() {
        let mut health = Health::default();
        let said = [true, false, false, false, true, true, false].map(|works| health.heard(works, 1));
        assert_eq!(said, [None, Some(News::Fails), None, None, Some(News::Works), None, Some(News::Fails)]);
        let mut patient = Health::default();
        let said = [false, true, false, false, false, true].map(|works| patient.heard(works, 2));
        assert_eq!(said, [None, None, None, Some(News::Fails), None, Some(News::Works)]);
    }
}
