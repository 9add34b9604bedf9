//! From a host that did not take a message to the next one (RFC 5321 §5.1).

use std::{net::SocketAddr, sync::Arc};

use posthaste_host::clock;
use posthaste_mail::{Name, Stage};
use posthaste_queue::{AttemptResult, Rcpt, Seq, Site};

use crate::{open::Open, outbound::Outbound, refuser::Refuser};

/// A recipient's result. True: it is the receiver's, not the relay's own.
pub(crate) type Answer = (Rcpt, AttemptResult, bool);

impl Outbound {
    /// A session that is kept leaves its host, which turned this message away before, for the one with which the message's attempt begins. False:
    /// no host takes a session, or others need the connection.
    pub(crate) async fn begin_elsewhere(&self, open: &mut Open, site: &Site, source: &Name, seq: Seq) -> bool {
        let mut candidates = self.candidates(site, source, &[]);
        self.turned_away.order(seq, &mut candidates);
        match candidates.first() {
            Some((_, first)) if *first != open.address => self.move_on(open, site, source, candidates, Refuser::Recipient).await,
            _ => true,
        }
    }

    /// Leaves a host for the first of these that takes a session; false if none does.
    pub(crate) async fn move_on(
        &self,
        open: &mut Open,
        site: &Site,
        source: &Name,
        candidates: Vec<(Arc<str>, SocketAddr)>,
        refuser: Refuser,
    ) -> bool {
        // Receivers count connections, and so does the queue: never two for one session.
        open.connection.leave().await;
        if refuser == Refuser::Host {
            // It is tried last for a while: without budget for a second offer, mail would never get beyond it.
            self.down.note(open.address, clock::instant() + self.settings.get().host_down);
        }
        let hurry = open.hurry.clone();
        let opened = tokio::select! {
            biased;
            opened = self.open_among(open.id, site, source, candidates) => opened,
            // Others need the connection: the next attempt goes on.
            () = hurry.clone().until_given_up(Stage::Banner) => return false,
        };
        let Ok(mut next) = opened else { return false };
        next.is_aside = open.is_aside || refuser == Refuser::Recipient;
        next.hurry(hurry);
        *open = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use posthaste_bounce::{Context, Rules};
    use posthaste_mail::{Failure, LocalCause, Reply};

    use super::*;

    fn refuser(failure: Failure) -> Option<Refuser> {
        let verdict = Rules::shipped().classify(&failure, &Context::default());
        Refuser::of(&AttemptResult::Failed(failure, verdict))
    }

    fn refused(stage: Stage, code: u16) -> Option<Refuser> {
        refuser(Failure::Refused { stage, reply: Reply::new(code, "4.3.0 not now") })
    }

    #[test]
    fn what_is_refused_for_now_may_be_taken_elsewhere_and_what_is_refused_for_good_may_not() {
        for stage in [Stage::Mail, Stage::Data, Stage::Dot] {
            assert_eq!((refused(stage, 450), refused(stage, 421)), (Some(Refuser::Host), Some(Refuser::Host)), "{stage}");
            assert_eq!(refuser(Failure::Refused { stage, reply: Reply::new(550, "5.7.1 no") }), None, "{stage}");
        }
        assert_eq!((refused(Stage::Rcpt, 450), refused(Stage::Rcpt, 421)), (Some(Refuser::Recipient), Some(Refuser::Host)));
        assert_eq!(refuser(Failure::Refused { stage: Stage::Rcpt, reply: Reply::new(550, "5.1.1 no such user") }), None);
    }

    #[test]
    fn no_second_host_hears_of_what_may_have_been_taken() {
        let lost = |stage| Failure::Local { stage, cause: LocalCause::ConnectionLost, detail: "closed".into() };
        assert_eq!((refuser(lost(Stage::Mail)), refuser(lost(Stage::Dot))), (Some(Refuser::Host), Some(Refuser::Host)));
        let verdict = Rules::shipped().classify(&lost(Stage::Dot), &Context::default());
        assert_eq!(Refuser::of(&AttemptResult::Unknown(lost(Stage::Dot), verdict)), None);
        let ours = Failure::Local { stage: Stage::Mail, cause: LocalCause::LocalError, detail: "no body".into() };
        assert_eq!(refuser(ours), None);
    }
}
