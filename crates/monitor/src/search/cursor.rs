//! A place in the log from which a search goes on.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Position;

/// A place between two lines, before which a search goes on. It is good for as long as its file is kept, whatever that is called by then; after
/// that it leads to the files that were older. Its text names nobody, and may stand in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    pub(super) position: Position,
    /// The number of the file: older ones have lower numbers.
    pub(super) number: u64,
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no place in the delivery log from which a search goes on; begin the search anew")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.position.file, self.number, self.position.offset)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let parts: Vec<&str> = text.split('-').collect();
        let [file, number, offset] = parts[..] else { return Err(CursorError) };
        let parse = |text: &str| text.parse::<u64>().map_err(|_| CursorError);
        let position = Position { file: file.parse().map_err(|_| CursorError)?, offset: parse(offset)? };
        Ok(Self { position, number: parse(number)? })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_reads_back_and_other_texts_are_none() {
        let cursor = Cursor { position: Position { file: "00ff".parse().unwrap(), offset: 4711 }, number: 12 };
        assert_eq!(cursor.to_string(), "00000000000000ff-12-4711");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!(serde_json::from_str::<Cursor>(&serde_json::to_string(&cursor).unwrap()).unwrap(), cursor);
        for other in ["", "a-b-c", "00ff-12", "00ff-12-1-2", "00ff-12--1", "x-12-1"] {
            assert_eq!(other.parse::<Cursor>(), Err(CursorError), "{other}");
        }
    }
}
