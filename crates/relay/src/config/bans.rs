//! `[bans]`: how guessing of passwords is limited.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    listen::network,
    reader::Table,
    value::{duration, list, number},
};
use crate::bans::BanRules;

/// How guessing of passwords is limited, and which clients are never banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bans {
    /// When clients are banned, and for how long.
    pub rules: BanRules,
    /// Networks whose clients are only delayed.
    pub exempt: Vec<IpNet>,
}

impl Bans {
    /// Whether a client at `ip` is never banned.
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
