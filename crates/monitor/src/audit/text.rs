//! An audit in words.

use std::fmt;

use super::{Audit, Finding, Recipient};

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended: u64 = self.ended.values().sum();
        let kinds: Vec<_> = self.ended.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        writeln!(f, "accepted {:>12}", self.accepted)?;
        writeln!(f, "ended    {ended:>12}  {}", kinds.join(", "))?;
        writeln!(f, "queued   {:>12}", self.queued)?;
        let notes = [
            (self.ended_and_queued, "ended, and not yet removed from the spool"),
            (self.too_young, "newer than the reading of the spool"),
            (self.before_the_log, "older than the oldest line kept"),
            (self.possible_duplicates, "delivered after an attempt with unknown outcome: possible duplicates"),
            (self.unproven, "cannot be judged: their lines may be among the missing ones"),
            (self.damaged_lines, "damaged lines"),
        ];
        for (count, what) in notes.iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "         {count:>12}  {what}")?;
        }
        for (finding, what) in [
            (&self.missing, "MISSING: accepted, neither ended nor queued"),
            (&self.doubly_accepted, "accepted more than once"),
            (&self.doubly_ended, "ended more than once"),
            (&self.ended_without_accept, "ended without having been accepted"),
            (&self.queued_without_accept, "queued without an accepted line"),
        ] {
            finding.write(f, what)?;
        }
        for gap in &self.gaps {
            let since = gap.since.map_or_else(|| "any time before".into(), |since| format!("{since:.0}"));
            let found = gap.found.map_or_else(|| "now".into(), |found| format!("at {found:.0}"));
            writeln!(f, "GAP found {found}: {}", crate::format::plain(&gap.detail))?;
            writeln!(f, "  not proven: that messages accepted from {since} on until {:.0} have one ending each", gap.until)?;
        }
        f.write_str(match (self.is_without_faults(), self.gaps.is_empty()) {
            (true, true) => "balanced: accepted = ended + queued",
            (true, false) => "NOT PROVEN: lines of the log are missing; the others balance",
            (false, _) => "NOT BALANCED",
        })
    }
}

impl Finding {
    fn write(&self, f: &mut fmt::Formatter<'_>, what: &str) -> fmt::Result {
        if self.count == 0 {
            return Ok(());
        }
        writeln!(f, "{} {what}", self.count)?;
        for Recipient { message, rcpt } in &self.listed {
            writeln!(f, "  {message} {}", crate::format::plain(rcpt))?;
        }
        match self.count - self.listed.len() as u64 {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }
}
