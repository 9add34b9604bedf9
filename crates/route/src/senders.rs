//! What DNS publishes about a sender: whether its SPF record lets an address send (RFC 7208), and its DMARC policy (RFC 7489).

use std::{net::IpAddr, time::Duration};

use mail_auth::{
    Parameters, SpfResult,
    common::parse::TxtRecordParser as _,
    dmarc::{Dmarc as Record, Policy},
    spf::verify::SpfParameters,
};
use tokio::time::timeout;

use crate::{DnsUnavailable, Resolver, address::is_private, registrable_domain};

/// What SPF says of an address that sends for a domain (RFC 7208 §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spf {
    /// The address may send.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// The domain does not say.
    Neutral,
    /// The domain has no SPF record.
    None,
    /// The record is wrong.
    PermError,
}

impl Spf {
    /// The word for it (RFC 8601 §2.7.2).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::None => "none",
            Self::PermError => "permerror",
        }
    }
}

/// The DMARC policy that is in force for a domain of From fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dmarc {
    /// There is no record, or none that is valid.
    Absent,
    /// `p=none`: reports only.
    None,
    /// `p=quarantine`.
    Quarantine,
    /// `p=reject`.
    Reject,
}

impl Dmarc {
    /// The word for it; those of policies are the record's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    /// The policy of a record. One with a policy that there is not asks for nothing but reports (RFC 7489 §6.6.3).
    fn of(policy: &Policy) -> Self {
        match policy {
            Policy::Quarantine => Self::Quarantine,
            Policy::Reject => Self::Reject,
            Policy::None | Policy::Unspecified => Self::None,
        }
    }
}

/// How long all look-ups of one SPF record may take (RFC 7208 §4.6.4 asks for 20 seconds at least).
const SPF_PATIENCE: Duration = Duration::from_secs(20);

impl Resolver {
    /// Whether receivers see this address of ours, as far as one can tell: behind NAT, a private one is seen as another.
    pub fn is_seen(&self, ip: IpAddr) -> bool {
        self.takes_private_addresses() || !is_private(ip)
    }

    /// What SPF says of an address that sends with this domain in the reverse-path, and this name in EHLO. The domain is that of EHLO where the
    /// reverse-path is empty (RFC 7208 §2.4). Macros see the local part "postmaster": the answer is asked once for all mail of the domain.
    ///
    /// # Errors
    /// DNS gave no answer to one of the questions.
    pub async fn spf(&self, ip: IpAddr, domain: &str, ehlo: &str) -> Result<Spf, DnsUnavailable> {
        // It tells "no such record" from "no answer", which the verifier does not always do.
        let is_published = |text: &String| text.get(..6).is_some_and(|begin| begin.eq_ignore_ascii_case("v=spf1"));
        if !self.txt(domain).await?.iter().any(is_published) {
            return Ok(Spf::None);
        }
        let sender = format!("postmaster@{domain}");
        let question = SpfParameters::verify_mail_from(ip, ehlo, ehlo, &sender);
        let verifier = self.verifier();
        let asked = self.own_asker().take(|| timeout(SPF_PATIENCE, verifier.verify_spf(Parameters::new(question))));
        let answer = asked.await.map_err(|gave_way| DnsUnavailable(gave_way.to_string()))?;
        match answer.map(|answer| answer.result()) {
            Ok(SpfResult::Pass) => Ok(Spf::Pass),
            Ok(SpfResult::Fail) => Ok(Spf::Fail),
            Ok(SpfResult::SoftFail) => Ok(Spf::SoftFail),
            Ok(SpfResult::Neutral) => Ok(Spf::Neutral),
            Ok(SpfResult::None) => Ok(Spf::None),
            Ok(SpfResult::PermError) => Ok(Spf::PermError),
            Ok(SpfResult::TempError) => Err(DnsUnavailable(format!("no name server answered for the SPF record of {domain}"))),
            Err(_) => Err(DnsUnavailable(format!("the SPF record of {domain} took longer than {SPF_PATIENCE:?}"))),
        }
    }

    /// The DMARC policy in force for a domain of From fields: its own record's, else that of its organizational domain (RFC 7489 §6.6.3).
    ///
    /// # Errors
    /// DNS gave no answer.
    pub async fn dmarc(&self, domain: &str) -> Result<Dmarc, DnsUnavailable> {
        let records = self.dmarc_records(domain).await?;
        if !records.is_empty() {
            return Ok(only(&records).map_or(Dmarc::Absent, |record| Dmarc::of(&record.p)));
        }
        let Some(owner) = registrable_domain(domain).filter(|owner| owner != domain) else { return Ok(Dmarc::Absent) };
        let records = self.dmarc_records(&owner).await?;
        Ok(only(&records).map_or(Dmarc::Absent, |record| Dmarc::of(&record.sp)))
    }

    /// The TXT records of a domain that mean to be DMARC records.
    async fn dmarc_records(&self, domain: &str) -> Result<Vec<String>, DnsUnavailable> {
        let mut records = self.txt(&format!("_dmarc.{domain}")).await?;
        records.retain(|record| record.starts_with("v=DMARC1"));
        Ok(records)
    }
}

/// The record, if there is one and it is valid. Of several, none counts.
fn only(records: &[String]) -> Option<Record> {
    let [record] = records else { return None };
    Record::parse(record.as_bytes()).ok()
}
