//! Encodes an event as a line.

use posthaste_mail::Event;

/// Appends the event's line, including the line end.
///
/// Uses the derived serializer, although it passes through three layers of flattening: a hand-written one saved a third of a microsecond.
pub fn encode(event: &Event, line: &mut Vec<u8>) {
    serde_json::to_writer(&mut *line, event).expect("an event is strings, numbers and flags, and memory takes them");
    line.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn an_event_is_one_line_whatever_its_texts_hold() {
        for event in samples::each(true) {
            let mut line = b"before\n".to_vec();
            encode(&event, &mut line);
            assert!(line.starts_with(b"before\n{") && line.ends_with(b"}\n"));
            assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 2);
        }
    }
}
