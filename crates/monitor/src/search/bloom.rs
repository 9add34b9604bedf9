//! Bloom filters: "this term is not there" is certain, "it is there" is probable.

use std::collections::HashSet;

/// Bits of a filter for each of its terms. With [`PROBES`] of them set for a term, one in 300 others seems to be there.
const BITS: usize = 12;
/// The bits that are set for a term, and looked at.
const PROBES: u64 = 8;

/// The filter of these terms, given as hashes: at most so many bytes, whereby it lets more through.
pub(super) fn of(terms: &HashSet<u64>, most: usize) -> Vec<u8> {
    let mut bits = vec![0; (terms.len() * BITS).div_ceil(8).clamp(1, most.max(1))];
    for term in terms {
        for (byte, bit) in places(*term, bits.len()) {
            bits[byte] |= bit;
        }
    }
    bits
}

/// Whether the term may be among those of the filter.
pub(super) fn may_hold(bits: &[u8], term: u64) -> bool {
    places(term, bits.len()).all(|(byte, bit)| bits[byte] & bit != 0)
}

/// Kirsch and Mitzenmacher, "Less hashing, same performance": two halves of one hash make all probes.
fn places(term: u64, bytes: usize) -> impl Iterator<Item = (usize, u8)> {
    let (first, second) = (term >> 32, (term & 0xffff_ffff) | 1);
    let bits = bytes as u64 * 8;
    (0..PROBES).map(move |n| (first + n * second) % bits).map(|place| ((place / 8) as usize, 1 << (place % 8)))
}

#[cfg(test)]
mod tests {
    use super::{super::terms::hash, *};

    #[test]
    fn no_term_is_denied_and_few_others_are_let_through() {
        let term = |n: u32| hash(b'r', format!("somebody{n}@example.org").as_bytes());
        let terms: HashSet<u64> = (0..3000).map(term).collect();
        let bits = of(&terms, 1 << 14);
        assert_eq!(bits.len(), 4500);
        assert!(terms.iter().all(|term| may_hold(&bits, *term)));
        let strangers = (3000..103_000).filter(|n| may_hold(&bits, term(*n))).count();
        assert!((100..700).contains(&strangers), "{strangers} of 100,000");
    }

    #[test]
    fn a_filter_that_may_not_be_larger_denies_no_term_either() {
        let terms: HashSet<u64> = (0..10_000_u32).map(|n| hash(b't', &n.to_be_bytes())).collect();
        let bits = of(&terms, 1000);
        assert_eq!(bits.len(), 1000);
        assert!(terms.iter().all(|term| may_hold(&bits, *term)));
        assert!(!may_hold(&of(&HashSet::new(), 1000), 7));
    }
}
