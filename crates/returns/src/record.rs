//! Returns as lines of the delivery log: written, and read again after a crash.

use std::net::IpAddr;

use jiff::Timestamp;
use posthaste_bounce::{Kind, Report, Verdict};
use posthaste_mail::{Address, Returned, ReturnedBounce, What};
use posthaste_monitor::LogRecord;

use crate::{
    found::{Believe, Match, Names, Return, Trust, believed},
    origin::Origin,
    sent,
};

/// The longest diagnostic text that is logged, in bytes.
const DETAIL_MAX: usize = 4096;

/// What a line says of a return beside what the report says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    /// Which matches are trusted.
    pub(super) believe: Believe,
    /// The host that brought it; None: it was fetched.
    pub(super) client_ip: Option<IpAddr>,
    /// Whether a line told of the same before, and all who were to hear of it have heard.
    pub(super) again: bool,
}

/// The event of a return; None if it is about no message.
pub(super) fn what(found: &Return, telling: &Telling, now: Timestamp) -> Option<What> {
    let returned = |m: &Match| returned(found, m, telling);
    match found {
        Return::LateBounce(m) => Some(What::LateBounced {
            about: m.sent.about(now),
            returned: returned(m),
            bounce: bounce(&m.report, m.report.verdict.as_ref()?),
        }),
        Return::Complaint(m) => Some(What::Complained {
            about: m.sent.about(now),
            returned: returned(m),
            feedback_type: m.report.feedback_type.as_deref().map(Into::into),
        }),
        Return::Unsubscribe(m) => Some(What::Unsubscribed { about: m.sent.about(now), returned: returned(m) }),
        Return::Delayed(m) => Some(What::Delayed { about: m.sent.about(now), returned: returned(m) }),
        Return::Aside(Kind::AutoReply, Some(m)) => Some(What::AutoReply { about: m.sent.about(now), returned: returned(m) }),
        Return::Aside(kind, Some(m)) => {
            let kind = m.report.feedback_type.as_deref().unwrap_or(word(*kind)).into();
            Some(What::NoReport { about: m.sent.about(now), returned: returned(m), kind })
        }
        Return::Aside(_, None) | Return::Unmatched { .. } => None,
    }
}

/// The event of a return that is about no message; None for others. `rcpt`: where it was sent to, if that is known.
pub(super) fn unmatched(found: &Return, client_ip: Option<IpAddr>, rcpt: Option<&Address>) -> Option<(&'static str, What)> {
    let (kind, reason) = match found {
        Return::Unmatched { kind, why } => (*kind, why.as_str()),
        Return::Aside(kind, None) => (*kind, "no_report"),
        _ => return None,
    };
    let rcpt = rcpt.map(|rcpt| rcpt.as_str().into());
    Some((reason, What::Unmatched { client_ip, rcpt, kind: word(kind).into(), reason: reason.into() }))
}

/// The word for what came back.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Bounce => "bounce",
        Kind::Delayed => "delayed",
        Kind::Delivered => "delivery_report",
        Kind::Feedback => "feedback",
        Kind::AutoReply => "auto_reply",
        Kind::NotBounce => "mail",
    }
}

fn returned(found: &Return, m: &Match, telling: &Telling) -> Returned {
    let named = [&m.report.rcpt, &m.report.original_rcpt].into_iter().flatten().filter_map(|a| Address::international(a).ok());
    let mut other = named.filter(|_| m.names != Names::Recipient);
    Returned {
        provider: m.sent.lane.provider.clone(),
        source: m.sent.lane.source.clone(),
        matched_by: m.trust.as_str(),
        trust: believed(found, telling.believe).as_str(),
        why: (m.trust == Trust::Verp || m.origin == Origin::Ended).then(|| m.origin.as_str()),
        client_ip: telling.client_ip,
        again: telling.again,
        // The named address that decided `names`, so that the same follows from the line when it is read again.
        names: other.find(|a| Names::new(std::slice::from_ref(a), &m.sent.address) == m.names).map(|a| a.as_str().into()),
        reporting_mta: m.report.reporting_mta.as_deref().map(Into::into),
    }
}

fn bounce(report: &Report, verdict: &Verdict) -> ReturnedBounce {
    let words = |text: &str| text[..text.floor_char_boundary(DETAIL_MAX)].into();
    ReturnedBounce {
        status: report.smtp_enhanced,
        detail: report.diagnostic.as_deref().map(words),
        remote_mta: report.remote_mta.as_deref().map(Into::into),
        class: verdict.class,
        scope: verdict.scope,
        action: verdict.action,
        rule: verdict.rule.clone(),
        confidence: verdict.confidence,
    }
}

/// The return that a line reports, and its time; None for other lines.
pub(super) fn read(line: &[u8]) -> Option<(Return, Timestamp)> {
    let record = LogRecord::parse(line)?;
    let (about, kind): (fn(Match) -> Return, _) = match &*record.event {
        "late_bounced" => (Return::LateBounce, Kind::Bounce),
        "complained" => (Return::Complaint, Kind::Feedback),
        "unsubscribed" => (Return::Unsubscribe, Kind::Feedback),
        _ => return None,
    };
    let sent = sent::read(&record)?;
    let trust = Trust::ALL.into_iter().find(|t| Some(t.as_str()) == record.matched_by.as_deref())?;
    // A line that does not say where its report came from proves nothing.
    let origin = record.why.as_deref().and_then(Origin::read).unwrap_or(Origin::Elsewhere);
    let named: Vec<Address> = record.names.iter().filter_map(|a| Address::international(a).ok()).collect();
    let names = Names::new(&named, &sent.address);
    let report = Box::new(report(&record, kind));
    Some((about(Match { sent, trust, origin, names, report }), record.time()?))
}

fn report(record: &LogRecord<'_>, kind: Kind) -> Report {
    let text = |field: &Option<posthaste_monitor::LogText<'_>>| field.as_deref().map(str::to_owned);
    Report {
        kind,
        rcpt: text(&record.names),
        original_rcpt: None,
        verdict: verdict(record),
        smtp_enhanced: None,
        smtp_code: None,
        diagnostic: text(&record.detail),
        message_id: None,
        envid: None,
        reporting_mta: text(&record.reporting_mta),
        remote_mta: text(&record.remote_mta),
        arrival: None,
        feedback_type: text(&record.feedback_type),
        source_ip: None,
    }
}

fn verdict(record: &LogRecord<'_>) -> Option<Verdict> {
    Some(Verdict {
        class: record.class.as_deref()?.parse().ok()?,
        scope: record.scope.as_deref()?.parse().ok()?,
        action: record.action.as_deref()?.parse().ok()?,
        permanent: true,
        confidence: record.confidence?,
        rule: (&**record.rule.as_ref()?).into(),
        why: "".into(),
        link: None,
    })
}
