//! The judgement of returned mail: its meaning, and the message and recipient that it is about.

use std::collections::HashSet;

use jiff::Timestamp;
use posthaste_bounce::{Kind, Report, Rules, read_mail};
use posthaste_mail::{Address, MessageId};
use posthaste_verp::Verp;

use crate::{
    found::{Match, Mismatch, Names, Return, Trust},
    identity::identity,
    origin::{Origin, Origins},
    sent::{Sent, SentTo},
    tokens::{self, Code, Codes},
};

/// Everything that is needed to judge returned mail.
#[derive(Clone, Copy)]
pub(crate) struct ReturnJudge<'a> {
    /// The openers of reverse-paths: one for each domain and prefix.
    pub verps: &'a [Verp],
    /// The rules by which replies are classified.
    pub rules: &'a Rules,
    /// The sent messages.
    pub sent: &'a dyn Sent,
    /// Whether the mail came to an address that feedback loops were told, or was fetched from a mailbox.
    pub is_feedback: bool,
    /// The way that it came.
    pub origins: Origins<'a>,
}

/// The most messages that are looked up for the hints of one mail, since each look-up reads the log.
const HINTS_MAX: usize = 3;

impl ReturnJudge<'_> {
    /// The meaning of a mail that came to `rcpts` (None: an address that is not known): at least one return, and one for each recipient of a
    /// message that it is about.
    ///
    /// Never panics. Reads the first MiB of the mail once, whatever the number of recipients, and looks into the log once for each different
    /// reverse-path that the mail was sent to ([`tokens::PATHS_MAX`] at most), or else once for the code in its content, or else
    /// [`HINTS_MAX`] times at most for hints.
    pub(crate) fn judge(&self, rcpts: &[Option<Address>], mail: &[u8], now: Timestamp) -> Vec<Return> {
        let reports: Vec<Named> = read_mail(mail, self.rules).into_iter().map(Named::new).collect();
        let codes = tokens::find(self.verps, rcpts, mail, now);
        let mut returns: Vec<Return> = match codes {
            Codes::Paths(paths) => self.for_paths(&paths, &reports),
            codes => {
                let mut case = Case { judge: self, codes, meant: None, known: None, hints: HINTS_MAX };
                reports.iter().map(|report| case.judge(report)).collect()
            }
        };
        for about in returns.iter_mut().filter_map(Return::about_mut) {
            about.origin = self.origins.of(&about.sent, self.verps);
        }
        let mut seen = HashSet::new();
        returns.retain(|r| identity(r).is_none_or(|identity| seen.insert(identity)));
        returns
    }

    /// The meaning of a mail for each reverse-path that it was sent to.
    fn for_paths(&self, paths: &[Code], reports: &[Named]) -> Vec<Return> {
        let meant: Vec<Option<SentTo>> = paths.iter().map(|code| self.sent_with(*code)).collect();
        let mut returns = Vec::new();
        for (i, sent) in meant.iter().enumerate() {
            let Some(sent) = sent else {
                returns.extend(reports.first().map(|first| Return::Unmatched { kind: first.report.kind, why: Mismatch::NotInLog }));
                continue;
            };
            // What names the recipient of another path of this mail is about that one.
            let others = || meant.iter().enumerate().filter(|(other, _)| *other != i).filter_map(|(_, sent)| sent.as_ref());
            let is_others = |report: &&Named| others().any(|other| report.names_just(&other.address) && !report.names_just(&sent.address));
            let mut own: Vec<_> =
                reports.iter().filter(|r| !is_others(r)).map(|report| (Names::new(&report.named, &sent.address), report)).collect();
            // Of several, the one that names this recipient counts.
            own.sort_by_key(|(names, _)| *names);
            returns.extend(own.iter().map(|(names, report)| report.about(sent, Trust::Verp, *names)));
            if own.is_empty() {
                returns.extend(reports.first().map(|first| Return::Aside(first.report.kind, None)));
            }
        }
        returns
    }

    fn sent_with(&self, (verp, token): Code) -> Option<SentTo> {
        let verp = &self.verps[verp];
        self.sent.recipient(token.message, &|address| verp.is_for(&token, address))
    }
}

/// A report with the addresses that it names.
struct Named {
    report: Report,
    named: Vec<Address>,
}

impl Named {
    fn new(report: Report) -> Self {
        let named = [&report.rcpt, &report.original_rcpt].into_iter().flatten().filter_map(|a| Address::international(a).ok()).collect();
        Self { report, named }
    }

    fn names_just(&self, address: &Address) -> bool {
        self.named.iter().any(|named| named.folded() == address.folded())
    }

    /// What it means for this recipient.
    fn about(&self, sent: &SentTo, trust: Trust, names: Names) -> Return {
        let meaning: fn(Match) -> Return = match self.report.kind {
            Kind::Bounce => Return::LateBounce,
            Kind::Delayed => Return::Delayed,
            Kind::Feedback => match self.report.feedback_type.as_deref() {
                // "not-spam" (RFC 6430) is the opposite of a complaint; "auth-failure" (RFC 6591) is about authentication.
                Some("not-spam" | "auth-failure") => |about| Return::Aside(Kind::Feedback, Some(about)),
                Some("opt-out" | "opt-out-list") => Return::Unsubscribe,
                _ => Return::Complaint,
            },
            Kind::AutoReply => |about| Return::Aside(Kind::AutoReply, Some(about)),
            Kind::Delivered => |about| Return::Aside(Kind::Delivered, Some(about)),
            Kind::NotBounce => |about| Return::Aside(Kind::NotBounce, Some(about)),
        };
        meaning(Match { sent: sent.clone(), trust, origin: Origin::Elsewhere, names, report: Box::new(self.report.clone()) })
    }

    /// Whether it reports something about a message.
    fn is_report(&self) -> bool {
        let is_about_mail = !matches!(self.report.feedback_type.as_deref(), Some("not-spam" | "auth-failure"));
        matches!(self.report.kind, Kind::Bounce | Kind::Delayed) || (self.report.kind == Kind::Feedback && is_about_mail)
    }
}

/// The judgement of one mail that came to no reverse-path.
struct Case<'a> {
    judge: &'a ReturnJudge<'a>,
    codes: Codes,
    /// What the log says of the code, once it was asked.
    meant: Option<Option<SentTo>>,
    /// The last message looked up.
    known: Option<(MessageId, Vec<SentTo>)>,
    hints: usize,
}

impl Case<'_> {
    fn judge(&mut self, report: &Named) -> Return {
        if !report.is_report() {
            return Return::Aside(report.report.kind, None);
        }
        match self.recipient(&report.report, &report.named) {
            Ok((sent, trust)) => report.about(&sent, trust, Names::new(&report.named, &sent.address)),
            Err(why) => Return::Unmatched { kind: report.report.kind, why },
        }
    }

    fn recipient(&mut self, report: &Report, named: &[Address]) -> Result<(SentTo, Trust), Mismatch> {
        let trust = if self.judge.is_feedback { Trust::Feedback } else { Trust::Content };
        match self.codes {
            Codes::Inside(code) => self.by_code(code).map(|sent| (sent, trust)),
            Codes::Expired => Err(Mismatch::Expired),
            Codes::Forged => Err(Mismatch::Forged),
            Codes::Several => Err(Mismatch::Several),
            Codes::None | Codes::Paths(_) => self.by_hint(report, named),
        }
    }

    fn by_code(&mut self, code: Code) -> Result<SentTo, Mismatch> {
        self.meant.get_or_insert_with(|| self.judge.sent_with(code)).clone().ok_or(Mismatch::NotInLog)
    }

    fn by_hint(&mut self, report: &Report, named: &[Address]) -> Result<(SentTo, Trust), Mismatch> {
        // Without a named recipient a hint could be about any of them.
        if named.is_empty() || (report.envid.is_none() && report.message_id.is_none()) {
            return Err(Mismatch::NoHint);
        }
        let envid = report.envid.as_deref().and_then(|e| e.trim().parse().ok());
        if let Some(sent) = envid.and_then(|id| self.named_of(id, named)) {
            return Ok((sent, Trust::Envid));
        }
        let message_id = report.message_id.as_deref().ok_or(Mismatch::NotInLog)?;
        // If the client gave no Message-ID, the relay's own id is before the '@'.
        let own = message_id.split('@').next().and_then(|id| id.parse().ok());
        let found = match own {
            Some(id) => self.named_of(id, named),
            None => self.look().then(|| self.judge.sent.by_message_id(message_id, named)).flatten(),
        };
        found.map(|sent| (sent, Trust::MessageId)).ok_or(Mismatch::NotInLog)
    }

    fn named_of(&mut self, id: MessageId, named: &[Address]) -> Option<SentTo> {
        let fresh = self.known.as_ref().is_none_or(|(known, _)| *known != id);
        if fresh && !self.look() {
            return None;
        }
        self.recipients(id).iter().find(|sent| named.iter().any(|a| a.folded() == sent.address.folded())).cloned()
    }

    /// Uses up one of the look-ups; false if none was left.
    fn look(&mut self) -> bool {
        let left = self.hints > 0;
        self.hints = self.hints.saturating_sub(1);
        left
    }

    fn recipients(&mut self, id: MessageId) -> &[SentTo] {
        if self.known.as_ref().is_none_or(|(known, _)| *known != id) {
            self.known = Some((id, self.judge.sent.recipients(id)));
        }
        self.known.as_ref().map_or(&[], |(_, sent)| sent)
    }
}

#[cfg(test)]
mod tests;
