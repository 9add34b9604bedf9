//! What a mail means that came back, for which message and recipient.

use std::collections::HashSet;

use jiff::Timestamp;
use posthaste_bounce::{Kind, Report, Rules, read_mail};
use posthaste_mail::{Address, MessageId};
use posthaste_verp::{OpenedPath, Token, Verp};

use crate::{
    found::{Match, Names, Return, Trust, Why},
    identity::identity,
    sent::{Sent, SentTo},
    tokens::{self, Found},
};

/// What is needed to judge.
#[derive(Clone, Copy)]
pub(crate) struct Judge<'a> {
    /// Our reverse-paths: one for each domain and prefix.
    pub verps: &'a [Verp],
    /// What replies mean.
    pub rules: &'a Rules,
    /// What was sent.
    pub sent: &'a dyn Sent,
}

/// The most messages that one mail's hints are looked up for: each look reads the log.
const HINTS_MAX: usize = 3;

impl Judge<'_> {
    /// What a mail means that came to `rcpt` (None: only the mail itself knows): at least one answer, and one for each recipient of a
    /// message that it is about.
    ///
    /// Never panics; reads the first MiB, and the log where it has a reason to.
    pub(crate) fn judge(&self, rcpt: Option<&Address>, mail: &[u8], now: Timestamp) -> Vec<Return> {
        let reports = read_mail(mail, self.rules);
        let mut case = Case { judge: self, found: tokens::find(self.verps, rcpt, mail, now), known: None, hints: HINTS_MAX };
        let mut seen = HashSet::new();
        let mut returns: Vec<Return> = reports.into_iter().map(|report| case.judge(report)).collect();
        returns.retain(|r| identity(r).is_none_or(|identity| seen.insert(identity)));
        returns
    }
}

/// One mail under judgement.
struct Case<'a> {
    judge: &'a Judge<'a>,
    found: Found,
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
                // RFC 6430 says the contrary of a complaint; RFC 6591 speaks of authentication.
                Some("not-spam" | "auth-failure") => return Return::Nothing,
                Some("opt-out" | "opt-out-list") => Return::Unsubscribe,
                _ => Return::Complaint,
            },
            Kind::AutoReply => return Return::AutoReply,
            Kind::Delivered | Kind::NotBounce => return Return::Nothing,
        };
        let named = [&report.rcpt, &report.original_rcpt].into_iter().flatten().filter_map(|a| Address::new(a).ok()).collect::<Vec<_>>();
        match self.recipient(&report, &named) {
            Ok((sent, trust)) => {
                let names = Names::new(&named, &sent.address);
                about(Match { sent, trust, names, report: Box::new(report) })
            }
            Err(why) => Return::Unmatched { kind: report.kind, why },
        }
    }

    fn recipient(&mut self, report: &Report, named: &[Address]) -> Result<(SentTo, Trust), Why> {
        match self.found {
            Found::One(verp, OpenedPath::Valid(token)) => self.by_token(verp, &token).map(|sent| (sent, Trust::Verp)),
            Found::One(_, OpenedPath::Expired(_)) => Err(Why::Expired),
            Found::One(..) => Err(Why::Forged),
            Found::Several => Err(Why::Several),
            Found::None => self.by_hint(report, named),
        }
    }

    fn by_token(&self, verp: usize, token: &Token) -> Result<SentTo, Why> {
        let verp = &self.judge.verps[verp];
        self.judge.sent.recipient(token.message, &|address| verp.is_for(token, address)).ok_or(Why::NotInLog)
    }

    fn by_hint(&mut self, report: &Report, named: &[Address]) -> Result<(SentTo, Trust), Why> {
        // Without a name a hint could be about any recipient.
        if named.is_empty() || (report.envid.is_none() && report.message_id.is_none()) {
            return Err(Why::NoHint);
        }
        let envid = report.envid.as_deref().and_then(|e| e.trim().parse().ok());
        if let Some(sent) = envid.and_then(|id| self.named_of(id, named)) {
            return Ok((sent, Trust::Envid));
        }
        let message_id = report.message_id.as_deref().ok_or(Why::NotInLog)?;
        // Where the client gave none, the relay's own id stands before the '@'.
        let own = message_id.split('@').next().and_then(|id| id.parse().ok());
        let found = match own {
            Some(id) => self.named_of(id, named),
            None => self.look().then(|| self.judge.sent.by_message_id(message_id, named)).flatten(),
        };
        found.map(|sent| (sent, Trust::MessageId)).ok_or(Why::NotInLog)
    }

    fn named_of(&mut self, id: MessageId, named: &[Address]) -> Option<SentTo> {
        let fresh = self.known.as_ref().is_none_or(|(known, _)| *known != id);
        if fresh && !self.look() {
            return None;
        }
        self.recipients(id).iter().find(|sent| named.iter().any(|a| a.folded() == sent.address.folded())).cloned()
    }

    /// One look fewer is left.
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
