//! The house: certificates, keys, disks, how fast they write, and who is behind.

use jiff::SignedDuration;
use maud::{Markup, html};
use posthaste_findings::Facts;

use crate::{
    snapshot::Snapshot,
    words::{At, bytes, foreign, lasting},
};

/// A certificate is told as long as it lasts so long.
const CERTIFICATE_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// A disk is told as full as that.
const DISK_LOW: f64 = 0.1;

pub(super) fn draw(snapshot: &Snapshot) -> Markup {
    html! {
        h2 { "House" }
        @match &snapshot.facts {
            None => { p .quiet { "Not looked at yet: the first look takes some seconds after the start." } }
            Some(facts) => { (list(snapshot, facts)) }
        }
    }
}

fn list(snapshot: &Snapshot, facts: &Facts) -> Markup {
    let house = &facts.house;
    let duration = |time| SignedDuration::try_from(time).unwrap_or_default();
    html! {
        dl .house {
            @for disk in &house.disks {
                dt { "Disk of the " (disk.holds) }
                dd .wrong[(disk.free as f64) < disk.size as f64 * DISK_LOW] {
                    (bytes(disk.free)) " free of " (bytes(disk.size))
                    @if let Some(pace) = disk.shrinks_by.filter(|pace| *pace > 0) { "; " (bytes(pace)) " less a day" }
                }
            }
            dt { "Disk writes" }
            dd { @match house.fsync_p99 { Some(time) => { "99 % within " (lasting_ms(duration(time))) } None => { "none in the last minute" } } }
            @for certificate in &house.certificates {
                dt { "Certificate " (foreign(&certificate.name)) }
                dd .wrong[certificate.expires.duration_since(snapshot.now) < CERTIFICATE_SOON] {
                    "until " (At { time: certificate.expires, now: snapshot.now, zone: &snapshot.zone }) @if certificate.renewed { ", renewed by ACME" }
                }
            }
            dt { "DKIM keys in DNS" }
            dd .wrong[!facts.keys_missing.is_empty()] {
                @if facts.keys_missing.is_empty() { "none is missing" }
                @for key in &facts.keys_missing { (foreign(&key.selector)) "._domainkey." (foreign(&key.domain)) ": " (foreign(&key.found)) ". " }
            }
            @for reader in &house.readers {
                dt { "Behind: " (reader.name) }
                dd .wrong[reader.behind.as_secs() > 900] { (lasting(duration(reader.behind))) }
            }
            @if house.quarantined > 0 { dt { "Quarantine" } dd .wrong { (house.quarantined) " records of the spool" } }
            @if let Some(refused) = &house.reload_refused {
                dt { "Last reload" } dd .wrong { "refused at " (At { time: refused.at, now: snapshot.now, zone: &snapshot.zone }) ": " (foreign(&refused.why)) }
            }
        }
    }
}

fn lasting_ms(time: SignedDuration) -> String {
    crate::words::milliseconds(time.as_millis_f64())
}
