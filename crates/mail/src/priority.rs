//! The priority of a message among others of its stream.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A message transfer priority (RFC 6710): -9 to 9, higher is sooner; 0 if none was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i8", into = "i8")]
pub struct TransferPriority(i8);

impl TransferPriority {
    /// The lowest priority.
    pub const MIN: i8 = -9;
    /// The highest priority.
    pub const MAX: i8 = 9;

    /// A priority; `None` outside -9 to 9.
    pub fn new(number: i8) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// Reads a priority as written in SMTP (RFC 6710 §6): one digit, with a minus if it is negative; no plus, and no `-0`.
    pub fn parse(text: &str) -> Option<Self> {
        let number: i8 = text.parse().ok()?;
        Self::new(number).filter(|priority| priority.to_string() == text)
    }

    /// The number.
    pub fn get(self) -> i8 {
        self.0
    }

    /// Whether it is 0, the priority of a message for which none was given.
    pub fn is_usual(&self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for TransferPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<TransferPriority> for i8 {
    fn from(priority: TransferPriority) -> Self {
        priority.0
    }
}

impl TryFrom<i8> for TransferPriority {
    type Error = &'static str;
    fn try_from(number: i8) -> Result<Self, Self::Error> {
        Self::new(number).ok_or("a priority is from -9 to 9")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_digit_and_perhaps_a_minus() {
        for (text, number) in [("0", 0), ("9", 9), ("-9", -9), ("-1", -1)] {
            assert_eq!(TransferPriority::parse(text).map(TransferPriority::get), Some(number));
        }
        for text in ["", "-", "+1", "-0", "10", "-10", "01", " 1", "1 ", "999", "x"] {
            assert_eq!(TransferPriority::parse(text), None, "{text:?}");
        }
        assert!(serde_json::from_str::<TransferPriority>("10").is_err());
    }
}
