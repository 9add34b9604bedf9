//! The order in which the hosts of a domain are tried (RFC 5321 §5.1), and which of its MX records name a host.

use std::collections::BTreeMap;

use posthaste_mail::Domain;
use rand::{Rng, seq::SliceRandom};

/// One MX record: the preference, and the host as DNS gave it, without the final dot ("" is the root).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mx {
    pub(crate) preference: u16,
    pub(crate) exchange: String,
}

/// The meaning of a domain's MX records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exchanges {
    /// RFC 7505, null MX: the domain accepts no mail.
    Null,
    /// The hosts to try, in this order, each once. Empty if no record names a possible host.
    Hosts(Vec<Mx>),
}

/// Sorts MX records into the order to try.
///
/// A "." among other records violates RFC 7505 §3 and is ignored; so is a name that no host can have. A host named twice counts with its
/// better preference.
pub(crate) fn exchanges(records: &[Mx], rng: &mut impl Rng) -> Exchanges {
    if !records.is_empty() && records.iter().all(|mx| mx.exchange.is_empty()) {
        return Exchanges::Null;
    }
    let mut best = BTreeMap::new();
    for mx in records {
        // The check for domains suits hosts too: letters, digits, hyphens, underscores, in lower case.
        let Ok(name) = Domain::new(&mx.exchange) else { continue };
        // "[192.0.2.1]" means what "192.0.2.1" means: see Resolver::candidate.
        let name = name.literal().map_or_else(|| String::from(name), |ip| ip.to_string());
        let preference = best.entry(name).or_insert(mx.preference);
        *preference = mx.preference.min(*preference);
    }
    let mut hosts: Vec<Mx> = best.into_iter().map(|(exchange, preference)| Mx { preference, exchange }).collect();
    hosts.sort_by_key(|mx| mx.preference);
    shuffle_equals(&mut hosts, |mx| mx.preference, rng);
    Exchanges::Hosts(hosts)
}

/// Shuffles each run of equal preferences in a list that is sorted by preference.
pub fn shuffle_equals<T>(hosts: &mut [T], preference: impl Fn(&T) -> u16, rng: &mut impl Rng) {
    for equals in hosts.chunk_by_mut(|a, b| preference(a) == preference(b)) {
        equals.shuffle(rng);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn mx(preference: u16, exchange: &str) -> Mx {
        Mx { preference, exchange: exchange.to_owned() }
    }

    fn hosts(records: &[Mx], seed: u64) -> Vec<Mx> {
        match exchanges(records, &mut StdRng::seed_from_u64(seed)) {
            Exchanges::Hosts(hosts) => hosts,
            Exchanges::Null => panic!("null MX"),
        }
    }

    #[test]
    fn only_the_root_alone_is_a_null_mx() {
        let rng = &mut StdRng::seed_from_u64(1);
        assert_eq!(exchanges(&[mx(0, "")], rng), Exchanges::Null);
        assert_eq!(exchanges(&[mx(0, ""), mx(7, "")], rng), Exchanges::Null);
        assert_eq!(hosts(&[mx(0, ""), mx(5, "a.example")], 1), [mx(5, "a.example")]);
        assert_eq!(hosts(&[], 1), []);
    }

    #[test]
    fn what_cannot_be_a_host_name_is_no_host() {
        let odd = [mx(1, "mail server.example"), mx(1, "a..b"), mx(1, "\\012.example"), mx(2, "Ok_1.Example"), mx(3, "[192.0.2.1]")];
        assert_eq!(hosts(&odd, 1), [mx(2, "ok_1.example"), mx(3, "192.0.2.1")]);
    }

    #[test]
    fn equal_preferences_come_first_equally_often() {
        let records = [mx(10, "a.example"), mx(10, "b.example"), mx(10, "c.example"), mx(20, "d.example")];
        for host in ["a.example", "b.example", "c.example"] {
            let first = (0..600).filter(|seed| hosts(&records, *seed)[0].exchange == host).count();
            assert!((140..=260).contains(&first), "{host}: {first} of 600");
        }
    }

    proptest! {
        #[test]
        fn every_host_comes_once_at_its_best_preference_and_in_order(
            records in prop::collection::vec((0u16..4, "[a-dA-D]\\.example"), 1..20), seed: u64,
        ) {
            let records: Vec<Mx> = records.iter().map(|(p, e)| mx(*p, e)).collect();
            let ordered = hosts(&records, seed);
            prop_assert!(ordered.is_sorted_by_key(|mx| mx.preference));
            let names: BTreeSet<String> = records.iter().map(|mx| mx.exchange.to_lowercase()).collect();
            let seen: BTreeSet<String> = ordered.iter().map(|mx| mx.exchange.clone()).collect();
            prop_assert_eq!(ordered.len(), seen.len());
            prop_assert_eq!(&names, &seen);
            for host in &ordered {
                let same = records.iter().filter(|mx| mx.exchange.eq_ignore_ascii_case(&host.exchange));
                prop_assert_eq!(same.map(|mx| mx.preference).min(), Some(host.preference));
            }
        }

        #[test]
        fn a_seed_fixes_the_order_and_the_order_of_records_does_not_matter(
            records in prop::collection::vec((0u16..3, "[a-f]\\.example"), 1..20), seed: u64,
        ) {
            let records: Vec<Mx> = records.iter().map(|(p, e)| mx(*p, e)).collect();
            let reversed: Vec<Mx> = records.iter().rev().cloned().collect();
            prop_assert_eq!(hosts(&records, seed), hosts(&reversed, seed));
        }
    }
}
