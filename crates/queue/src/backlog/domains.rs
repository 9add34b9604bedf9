//! Recipient domains: each one's route, kept as long as DNS allows, and the groups that wait for it.

use std::{collections::HashMap, sync::Arc};

use posthaste_mail::Domain;

use super::{
    streams::Party,
    table::{DomainIx, RecipientGroup},
};
use crate::{Site, exchange::Unroutable, numbers::NumberMap};

/// On behalf of how many parties DNS is asked about one domain at once.
const ASKED_FOR_MAX: usize = 8;

/// What is known about a domain's route.
pub(crate) enum Known {
    /// Nothing: DNS was never asked, or too long ago.
    No,
    /// DNS is being asked, on behalf of these. Each has a turn of its own, so that nobody waits for another's.
    Asking(Vec<Party>),
    /// So many answers are still to come to questions that were asked before a reload. None of them holds; DNS is asked again after the last one.
    AskingInVain(usize),
    /// The hosts, until then (milliseconds since 1970).
    Route(Arc<Site>, i64),
    /// There are no hosts: asked at the first time, kept until the second.
    Nowhere(Arc<Unroutable>, i64, i64),
}

/// Where mail for a domain goes now.
pub(crate) enum Route {
    /// To these hosts.
    To(Arc<Site>),
    /// There are no hosts, as DNS said at this time (milliseconds since 1970).
    Nowhere(Arc<Unroutable>, i64),
    /// Not known yet. With the domain's name if DNS has to be asked now; without it if the question is already under way.
    Unknown(Option<Arc<Domain>>),
}

/// One domain.
pub(crate) struct DomainEntry {
    /// Its name.
    pub(crate) name: Arc<Domain>,
    /// Its route.
    pub(crate) known: Known,
    /// Groups that wait for the answer.
    waiting: Vec<RecipientGroup>,
    /// The number of queued recipients at this domain.
    queued: usize,
    /// Questions to DNS without an answer.
    open: usize,
}

/// All domains with queued mail.
#[derive(Default)]
pub(crate) struct Domains {
    entries: NumberMap<DomainIx, DomainEntry>,
    by_name: HashMap<Arc<Domain>, DomainIx>,
    next: DomainIx,
    /// How often the last recipient at a domain without hosts went since the last sweep.
    dead: usize,
}

impl DomainEntry {
    fn route(&mut self, party: Party, now: i64) -> Route {
        match &mut self.known {
            Known::Route(site, until) if *until > now => Route::To(site.clone()),
            Known::Nowhere(why, since, until) if *until > now => Route::Nowhere(why.clone(), *since),
            Known::Asking(parties) if parties.len() >= ASKED_FOR_MAX || parties.contains(&party) => Route::Unknown(None),
            Known::AskingInVain(_) => Route::Unknown(None),
            Known::Asking(parties) => {
                parties.push(party);
                self.ask()
            }
            _ => {
                self.known = Known::Asking(vec![party]);
                self.ask()
            }
        }
    }

    fn ask(&mut self) -> Route {
        self.open += 1;
        Route::Unknown(Some(self.name.clone()))
    }

    fn forget_route(&mut self) {
        if !matches!(self.known, Known::Asking(_) | Known::AskingInVain(_)) {
            self.known = Known::No;
        }
    }

    fn outdate_route(&mut self) {
        self.known = if self.open > 0 { Known::AskingInVain(self.open) } else { Known::No };
    }
}

impl Domains {
    /// The number of a domain at which one more recipient is queued.
    pub(crate) fn add_recipient(&mut self, name: &Domain) -> DomainIx {
        if let Some(ix) = self.by_name.get(name) {
            self.entries.get_mut(ix).expect("by_name leads to entries that exist").queued += 1;
            return *ix;
        }
        self.next += 1;
        let name = Arc::new(name.clone());
        self.by_name.insert(name.clone(), self.next);
        self.entries.insert(self.next, DomainEntry { name, known: Known::No, waiting: Vec::new(), queued: 1, open: 0 });
        self.next
    }

    /// One recipient fewer is queued at a domain.
    pub(crate) fn remove_recipient(&mut self, ix: DomainIx) {
        if let Some(entry) = self.entries.get_mut(&ix) {
            entry.queued = entry.queued.saturating_sub(1);
            self.dead += usize::from(entry.queued == 0 && matches!(entry.known, Known::Nowhere(..)));
        }
    }

    /// A domain's route.
    pub(crate) fn route(&mut self, ix: DomainIx, party: Party, now: i64) -> Route {
        self.entries.get_mut(&ix).map_or(Route::Unknown(None), |entry| entry.route(party, now))
    }

    /// A domain's route for a group. If the route is not known, the group waits here for the answer of DNS; otherwise it is returned.
    pub(crate) fn place(&mut self, ix: DomainIx, group: RecipientGroup, party: Party, now: i64) -> (Route, Option<RecipientGroup>) {
        // A domain is forgotten only when no recipient is queued there, so the group is void.
        let Some(entry) = self.entries.get_mut(&ix) else { return (Route::Unknown(None), None) };
        let route = entry.route(party, now);
        if matches!(route, Route::Unknown(_)) {
            entry.waiting.push(group);
            return (route, None);
        }
        (route, Some(group))
    }

    /// Keeps the answer that DNS gave at `now` until `until`; returns the groups that waited for it. That it gave none counts only if nobody
    /// else's question is still open, and forgets no route that another one found. True: the answer is outdated, and DNS is to be asked again.
    pub(crate) fn resolved(
        &mut self,
        ix: DomainIx,
        answer: &Result<Arc<Site>, Arc<Unroutable>>,
        now: i64,
        until: i64,
    ) -> (Vec<RecipientGroup>, bool) {
        let Some(entry) = self.entries.get_mut(&ix) else { return (Vec::new(), false) };
        entry.open = entry.open.saturating_sub(1);
        let is_open = answer.as_ref().is_err_and(|why| !why.verdict.permanent);
        match &mut entry.known {
            Known::AskingInVain(left) if *left > 1 => {
                *left -= 1;
                return (Vec::new(), false);
            }
            Known::AskingInVain(_) => {
                entry.known = Known::No;
                return (std::mem::take(&mut entry.waiting), true);
            }
            Known::Asking(parties) if is_open && parties.len() > 1 => {
                parties.pop();
                return (Vec::new(), false);
            }
            Known::Route(_, known_until) if is_open && *known_until > now => return (Vec::new(), false),
            _ => {}
        }
        entry.known = match answer {
            Ok(site) => Known::Route(site.clone(), until),
            Err(why) => Known::Nowhere(why.clone(), now, until),
        };
        (std::mem::take(&mut entry.waiting), false)
    }

    /// A domain by its number.
    pub(crate) fn get(&self, ix: DomainIx) -> Option<&DomainEntry> {
        self.entries.get(&ix)
    }

    /// A domain's name; empty for one that is forgotten.
    pub(crate) fn name(&self, ix: DomainIx) -> &str {
        self.get(ix).map_or("", |entry| entry.name.as_str())
    }

    /// The provider of a domain's mailboxes, or the domain's own name while no route to it is known.
    pub(crate) fn provider(&self, ix: DomainIx) -> &str {
        match self.get(ix) {
            Some(DomainEntry { known: Known::Route(site, _), .. }) => site.provider.as_str(),
            Some(entry) => entry.name.as_str(),
            None => "",
        }
    }

    /// The numbers of all domains.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = DomainIx> {
        self.entries.keys().copied()
    }

    /// Forgets a domain's route, so that DNS is asked again.
    pub(crate) fn forget_route(&mut self, ix: DomainIx) {
        self.entries.get_mut(&ix).into_iter().for_each(DomainEntry::forget_route);
    }

    /// Forgets every route, so that DNS is asked again.
    pub(crate) fn forget_routes(&mut self) {
        self.entries.values_mut().for_each(DomainEntry::forget_route);
    }

    /// Forgets every route, and what is still to come of DNS, because it is asked by other settings from now on.
    pub(crate) fn outdate_routes(&mut self) {
        self.entries.values_mut().for_each(DomainEntry::outdate_route);
    }

    /// Whether many domains have neither hosts nor queued mail: it is time for a sweep.
    pub(crate) fn are_littered(&self) -> bool {
        self.dead >= DEAD_MAX && self.dead >= self.entries.len() / 4
    }

    /// Forgets domains without queued mail that have no hosts, or whose hosts were found out too long ago. That there are none, the resolver
    /// knows for as long as DNS allows.
    pub(crate) fn sweep(&mut self, now: i64) {
        let done = |e: &DomainEntry| {
            let stale = match e.known {
                Known::No | Known::Nowhere(..) => true,
                Known::Asking(_) | Known::AskingInVain(_) => false,
                Known::Route(_, until) => until <= now,
            };
            e.queued == 0 && e.waiting.is_empty() && stale
        };
        self.by_name.retain(|_, ix| !done(&self.entries[ix]));
        self.entries.retain(|_, e| !done(e));
        self.dead = 0;
        // What a burst took, the system gets back.
        if self.entries.capacity() / 8 > self.entries.len().max(DEAD_MAX) {
            self.entries.shrink_to(2 * self.entries.len());
            self.by_name.shrink_to(2 * self.by_name.len());
        }
    }
}

/// So many domains without hosts and without mail are no burden.
const DEAD_MAX: usize = 1024;
