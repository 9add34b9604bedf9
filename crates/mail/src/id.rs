//! Ids that sort by the time at which they were made: ULIDs.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

/// The id of an accepted message: 26 letters and digits. The client gets it in the 250 reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(Ulid);

/// The id of one line of the delivery log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Ulid);

/// The error for a text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an id: ids are 26 letters and digits, such as 01K6Z5D0V4QK9M2T8YJ3N7RXCE")]
pub struct IdError(String);

macro_rules! id {
    ($name:ident) => {
        impl $name {
            /// Makes an id from the time, in milliseconds, and the lower 80 bits of `random`.
            pub fn new(now: Timestamp, random: u128) -> Self {
                Self(Ulid::from_parts(u64::try_from(now.as_millisecond()).unwrap_or(0), random))
            }

            /// The 16 bytes, most significant first, so that they sort like the ids.
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_bytes()
            }

            /// The inverse of [`Self::to_bytes`].
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Ulid::from_bytes(bytes))
            }

            /// When the id was made, to the millisecond.
            pub fn time(self) -> Timestamp {
                let ms = i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX);
                Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut buffer = [0; ulid::ULID_LEN];
                f.write_str(self.0.array_to_str(&mut buffer))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Ulid::from_string(text).map(Self).map_err(|_| IdError(text.chars().take(64).collect()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                let mut buffer = [0; ulid::ULID_LEN];
                s.serialize_str(self.0.array_to_str(&mut buffer))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(MessageId);
id!(EventId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_bytes_and_knows_its_time() {
        let now: Timestamp = "2026-11-23T10:11:12.345Z".parse().unwrap();
        let id = MessageId::new(now, 0x1234_5678_9abc_def0_1234);
        assert_eq!(id.time(), now);
        assert_eq!(id.to_string().parse::<MessageId>().unwrap(), id);
        assert_eq!(MessageId::from_bytes(id.to_bytes()), id);
        assert!("not an id".parse::<MessageId>().is_err());
    }

    #[test]
    fn a_later_id_sorts_after_an_earlier_one() {
        let early = MessageId::new(Timestamp::from_second(1).unwrap(), u128::MAX);
        let late = MessageId::new(Timestamp::from_second(2).unwrap(), 0);
        assert!(early < late && early.to_bytes() < late.to_bytes() && early.to_string() < late.to_string());
    }
}
