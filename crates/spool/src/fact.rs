//! A keyed fact in the index.

use crate::record::Loc;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) lsn: u64,
    pub(crate) at: Loc,
    /// Other segments that may still hold older versions. A deletion must stay in the log until they are deleted.
    pub(crate) trail: Vec<u32>,
    /// `None`: deleted.
    pub(crate) value: Option<Vec<u8>>,
}

impl Fact {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED + 4 * self.trail.len() + self.value.as_ref().map_or(0, Vec::len));
        bytes.extend_from_slice(&self.lsn.to_le_bytes());
        for word in [self.at.segment, self.at.offset, self.at.len, self.trail.len() as u32] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.push(u8::from(self.value.is_some()));
        self.trail.iter().for_each(|segment| bytes.extend_from_slice(&segment.to_le_bytes()));
        bytes.extend_from_slice(self.value.as_deref().unwrap_or_default());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let lsn = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
        let at = Loc { segment: word(8)?, offset: word(12)?, len: word(16)? };
        let trails = word(20)? as usize;
        let present = *bytes.get(24)? == 1;
        let trail = (0..trails).map(|n| word(FIXED + 4 * n)).collect::<Option<Vec<u32>>>()?;
        let value = present.then(|| bytes[FIXED + 4 * trails..].to_vec());
        Some(Self { lsn, at, trail, value })
    }

    /// Adds a segment that holds an older version.
    pub(crate) fn trails(&mut self, segment: u32) {
        if segment != self.at.segment && !self.trail.contains(&segment) {
            self.trail.push(segment);
        }
    }
}

const FIXED: usize = 25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_reads_back() {
        let at = Loc { segment: 3, offset: 64, len: 50 };
        for value in [None, Some(Vec::new()), Some(b"value".to_vec())] {
            let mut fact = Fact { lsn: 9, at, trail: vec![1], value };
            fact.trails(2);
            fact.trails(2);
            fact.trails(3);
            assert_eq!(fact.trail, [1, 2]);
            assert_eq!(Fact::decode(&fact.encode()), Some(fact.clone()));
        }
        assert_eq!(Fact::decode(&[0; 24]), None);
    }
}
