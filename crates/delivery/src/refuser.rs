//! Who did not take a message: its host, or the mailbox alone.

use posthaste_mail::{Failure, LocalCause, Stage};
use posthaste_queue::AttemptResult;

/// Who did not take a message for the time being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refuser {
    /// The mailbox: the host may well take the next message.
    Recipient,
    /// The host.
    Host,
}

impl Refuser {
    /// Who refused this recipient, if another host may take it. None where it is taken, or may be taken: a connection that died after the
    /// final dot is a matter for later, because a second host would deliver a second copy. None too for a refusal for good.
    pub(crate) fn of(said: &AttemptResult) -> Option<Self> {
        let AttemptResult::Failed(failure, verdict) = said else { return None };
        if verdict.permanent {
            return None;
        }
        match failure {
            Failure::Refused { stage: Stage::Rcpt, reply } if reply.code != 421 => Some(Self::Recipient),
            Failure::Refused { stage: Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot | Stage::Rset, .. } => Some(Self::Host),
            Failure::Local { stage: Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot | Stage::Rset, cause, .. } => {
                matches!(cause, LocalCause::ConnectionLost | LocalCause::Timeout | LocalCause::NotSmtp).then_some(Self::Host)
            }
            _ => None,
        }
    }
}
