//! Finds the provider of a host's name or address by look-up, without walking a list.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry as Slot},
    hash::Hash,
    net::IpAddr,
};

use ipnet::IpNet;
use posthaste_mail::Name;

use super::{ProviderFileError, file::ProviderEntry};

/// The provider of each domain, host suffix and network.
#[derive(Clone, Debug, Default)]
pub(super) struct ProviderIndex {
    pub(super) domains: HashMap<Box<str>, Name>,
    /// By suffixes of host names.
    hosts: HashMap<Box<str>, Name>,
    /// By suffixes of names of hosts that send the provider's reports.
    reports: HashMap<Box<str>, Name>,
    networks: HashMap<IpNet, Name>,
    /// The prefix lengths in use, longest first: IPv4, IPv6.
    lengths: [Vec<u8>; 2],
}

/// Claims while they are collected, each with the rank of its file.
struct Claims<K>(HashMap<K, (usize, Name)>);

impl ProviderIndex {
    /// Builds the index from files in order of precedence. Two providers in one file cannot claim the same.
    pub(super) fn of(files: &[Vec<ProviderEntry>]) -> Result<Self, Vec<ProviderFileError>> {
        let (mut domains, mut hosts, mut networks) = (Claims(HashMap::new()), Claims(HashMap::new()), Claims(HashMap::new()));
        let mut reports = Claims(HashMap::new());
        let mut errors = Vec::new();
        // Of several entries of one provider, only the first that sets a key counts.
        let mut given: BTreeSet<(&Name, &str)> = BTreeSet::new();
        for (rank, entry) in files.iter().enumerate().flat_map(|(rank, entries)| entries.iter().map(move |entry| (rank, entry))) {
            let mut first = |key| given.insert((&entry.name, key));
            if let Some(list) = entry.mx.as_ref().filter(|_| first("mx")) {
                hosts.claim(list, rank, entry, "mx", &mut errors);
            }
            if let Some(list) = entry.reports.as_ref().filter(|_| first("reports")) {
                reports.claim(list, rank, entry, "reports", &mut errors);
            }
            if let Some(list) = entry.domains.as_ref().filter(|_| first("domains")) {
                domains.claim(list, rank, entry, "domains", &mut errors);
            }
            if let Some(list) = entry.addresses.as_ref().filter(|_| first("addresses")) {
                networks.claim(list, rank, entry, "addresses", &mut errors);
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let networks = networks.settled();
        let lengths = [true, false].map(|v4| {
            let of_family = networks.keys().filter(|net| net.addr().is_ipv4() == v4);
            let lengths: BTreeSet<u8> = of_family.map(IpNet::prefix_len).collect();
            lengths.into_iter().rev().collect()
        });
        Ok(Self { domains: domains.settled(), hosts: hosts.settled(), reports: reports.settled(), networks, lengths })
    }

    /// The provider of the longest claimed suffix of a host's name.
    pub(super) fn of_host<'h>(&self, host: &'h str) -> Option<(&'h str, &Name)> {
        ends(host).find_map(|end| Some((end, self.hosts.get(end)?)))
    }

    /// The provider whose reports come from hosts with such a name.
    pub(super) fn of_reports(&self, host: &str) -> Option<&Name> {
        ends(host).find_map(|end| self.reports.get(end))
    }

    /// The provider of the smallest claimed network that contains an address.
    pub(super) fn of_address(&self, ip: IpAddr) -> Option<(IpNet, &Name)> {
        let lengths = &self.lengths[usize::from(ip.is_ipv6())];
        lengths.iter().find_map(|length| {
            let net = IpNet::new(ip, *length).ok()?.trunc();
            Some((net, self.networks.get(&net)?))
        })
    }
}

/// A name and its parents.
fn ends(host: &str) -> impl Iterator<Item = &str> {
    std::iter::once(host).chain(host.match_indices('.').map(|(dot, _)| &host[dot + 1..]))
}

impl<K: Hash + Eq + Clone + std::fmt::Display> Claims<K> {
    fn claim(&mut self, list: &[K], rank: usize, entry: &ProviderEntry, key: &'static str, errors: &mut Vec<ProviderFileError>) {
        for what in list {
            match self.0.entry(what.clone()) {
                Slot::Vacant(slot) => drop(slot.insert((rank, entry.name.clone()))),
                // Claimed by a file with higher precedence.
                Slot::Occupied(slot) if slot.get().0 < rank => {}
                Slot::Occupied(slot) if slot.get().1 == entry.name => {}
                Slot::Occupied(slot) => {
                    let origin = entry.keys.get(key).unwrap_or(&entry.origin);
                    let message = format!("{what} is {}'s already", slot.get().1);
                    let key = format!("provider.{}.{key}", entry.name);
                    errors.push(ProviderFileError { file: origin.file.clone(), line: origin.line, key, message });
                }
            }
        }
    }

    fn settled(self) -> HashMap<K, Name> {
        self.0.into_iter().map(|(what, (_, name))| (what, name)).collect()
    }
}
