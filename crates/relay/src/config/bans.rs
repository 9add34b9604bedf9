//! `[bans]`: what guessing passwords costs.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    listen::network,
    reader::Table,
    value::{duration, list, number},
};
use crate::bans::BanRules;

/// What guessing passwords costs, and whom it never shuts out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bans {
    /// When and for how long.
    pub rules: BanRules,
    /// Who is only slowed.
    pub exempt: Vec<IpNet>,
}

impl Bans {
    /// Whether a client at `ip` is never shut out.
    pub fn exempts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.exempt.iter().any(|net| net.contains(&ip))
    }

    pub(super) fn read(t: &Table<'_>) -> Self {
        let second = Duration::from_secs(1);
        let rules = BanRules {
            failures: t.get("failures", number(1..=1_000_000)),
            within: t.get("within", duration(second..=Duration::from_hours(7 * 24))),
            lasts: t.get("lasts", duration(second..=Duration::from_hours(365 * 24))),
            delay: t.get("delay", duration(Duration::ZERO..=30 * second)),
        };
        Self { rules, exempt: t.get("exempt", list(network)) }
    }
}
