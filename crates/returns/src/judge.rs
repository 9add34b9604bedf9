//! The judgement of returned mail: its meaning, and the message and recipient that it is about.

use std::collections::HashSet;

use jiff::Timestamp;
use posthaste_bounce::{Kind, Report, Rules, read_mail};
use posthaste_mail::{Address, MessageId};
use posthaste_verp::{OpenedPath, PathToken, Verp};

use crate::{
    found::{Match, Mismatch, Names, Return, Trust},
    identity::identity,
    sent::{Sent, SentTo},
    tokens::{self, FoundPath},
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
}

/// The most messages that are looked up for the hints of one mail, since each look-up reads the log.
const HINTS_MAX: usize = 3;

impl ReturnJudge<'_> {
    /// The meaning of a mail that came to `rcpts` (None: an address that is not known): at least one return, and one for each recipient of a
    /// message that it is about.
    ///
    /// Never panics. Reads the first MiB of the mail once, whatever the number of recipients, and looks into the log four times at most: once
    /// for the reverse-path, and [`HINTS_MAX`] times for hints.
    pub(crate) fn judge(&self, rcpts: &[Option<Address>], mail: &[u8], now: Timestamp) -> Vec<Return> {
        let reports = read_mail(mail, self.rules);
        let found = tokens::find(self.verps, rcpts, mail, now);
        let mut case = Case { judge: self, found, meant: None, known: None, hints: HINTS_MAX };
        let mut seen = HashSet::new();
        let mut returns: Vec<Return> = reports.into_iter().map(|report| case.judge(report)).collect();
        returns.retain(|r| identity(r).is_none_or(|identity| seen.insert(identity)));
        returns
    }
}

/// The judgement of one mail.
struct Case<'a> {
    judge: &'a ReturnJudge<'a>,
    found: FoundPath,
    /// What the log says of the reverse-path, once it was asked.
    meant: Option<Option<SentTo>>,
    /// The last message looked up.
    known: Option<(MessageId, Vec<SentTo>)>,
    hints: usize,
}

impl Case<'_> {
    fn judge(&mut self, report: Report) -> Return {
        let about: fn(Match) -> Return = match report.kind {
            Kind::Bounce => Return::LateBounce,
            Kind::Delayed => Return::Delayed,
            Kind::Feedback => match report.feedback_type.as_deref() {
                // "not-spam" (RFC 6430) is the opposite of a complaint; "auth-failure" (RFC 6591) is about authentication.
                Some("not-spam" | "auth-failure") => return Return::Nothing,
                Some("opt-out" | "opt-out-list") => Return::Unsubscribe,
                _ => Return::Complaint,
            },
            Kind::AutoReply => return Return::AutoReply,
            Kind::Delivered | Kind::NotBounce => return Return::Nothing,
        };
        let named =
            [&report.rcpt, &report.original_rcpt].into_iter().flatten().filter_map(|a| Address::international(a).ok()).collect::<Vec<_>>();
        match self.recipient(&report, &named) {
            Ok((sent, trust)) => {
                let names = Names::new(&named, &sent.address);
                about(Match { sent, trust, names, report: Box::new(report) })
            }
            Err(why) => Return::Unmatched { kind: report.kind, why },
        }
    }

    fn recipient(&mut self, report: &Report, named: &[Address]) -> Result<(SentTo, Trust), Mismatch> {
        match self.found {
            FoundPath::One(verp, OpenedPath::Valid(token)) => self.by_token(verp, &token).map(|sent| (sent, Trust::Verp)),
            FoundPath::One(_, OpenedPath::Expired(_)) => Err(Mismatch::Expired),
            FoundPath::One(..) => Err(Mismatch::Forged),
            FoundPath::Several => Err(Mismatch::Several),
            FoundPath::None => self.by_hint(report, named),
        }
    }

    fn by_token(&mut self, verp: usize, token: &PathToken) -> Result<SentTo, Mismatch> {
        let verp = &self.judge.verps[verp];
        let look = || self.judge.sent.recipient(token.message, &|address| verp.is_for(token, address));
        self.meant.get_or_insert_with(look).clone().ok_or(Mismatch::NotInLog)
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
