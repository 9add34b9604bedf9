//! `[dkim]`: signing domains and their keys.

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf, time::Duration};

use posthaste_dkim::{Canonicalization, Key, Schedule, SignerError, SignerOptions, check_identity};
use posthaste_mail::{ByDomain, Domain, Name, Pattern};
use posthaste_signing::{Dkim, DkimKey, Signing};
use posthaste_submission::Listener;

use super::{
    environment::Environment,
    reader::{Item, Parsed, Table, fault},
    stream::Stream,
    value::{boolean, domain, duration, from_text, items, list, number, some, string, zero_is_none},
};

pub(super) fn read(t: &Table<'_>, environment: &Environment<'_>) -> Dkim {
    let day = Duration::from_hours(24);
    let expire = t.get("expire", zero_is_none(duration(Duration::from_hours(1)..=365 * day)));
    let rotation = t.table("rotation", |t| schedule(t, None));
    let headers = t.get("headers", some(header_name));
    let oversign = t.get("oversign", list(header_name));
    if !headers.iter().chain(&oversign).any(|name| name.eq_ignore_ascii_case("From")) {
        t.object_to(&["headers", "oversign"], SignerError::FromNotSigned.to_string());
    }
    let domains: ByDomain<Signing> = t.table("domain", |t| {
        let domains = t.entries(signing_domain, |t, word| t.entry(word, |t| signing(t, word, environment, &rotation)));
        domains.into_iter().collect()
    });
    let with_keys = |key: &str| {
        let domain = t.given(key, domain)?;
        defined(t, key, &domain, &domains);
        Some(domain)
    };
    Dkim {
        also_sign_as: with_keys("also_sign_as"),
        arc_domain: with_keys("arc_domain"),
        canonicalization: t.get("canonicalization", canonicalization),
        threads: t.get("threads", zero_is_none(number(1..=256_usize))).and_then(NonZeroUsize::new),
        domains,
        expire,
        headers,
        oversign,
        rotation,
    }
}

/// Checks that the keys that streams and listeners need exist, and that keys are kept for as long as mail may wait.
pub(super) fn suits(dkim: &Dkim, root: &Table<'_>, streams: &BTreeMap<Name, Stream>, listeners: &BTreeMap<Name, Listener>) {
    let sealer_is_spoilt = ["domain", "also_sign_as", "arc_domain"].iter().any(|key| root.is_spoilt_at(&["dkim", key]));
    let sealing = streams.iter().filter(|(_, s)| s.arc).map(|(name, _)| ("stream", name));
    let sealing = sealing.chain(listeners.iter().filter(|(_, l)| l.arc).map(|(name, _)| ("listen", name)));
    for (table, name) in sealing.filter(|_| dkim.sealer().is_none() && !sealer_is_spoilt) {
        root.object_at(
            &[table, name.as_str(), "arc"],
            "no domain seals this mail: set dkim.arc_domain (or dkim.also_sign_as) to a domain with keys".into(),
        );
    }
    for (name, stream) in streams {
        let is_spoilt = |domain: &Domain| root.is_spoilt_at(&["dkim", "domain", domain.as_str()]);
        let missing = stream.dkim_domain.as_ref().filter(|domain| dkim.domains.exact(domain.as_str()).is_none());
        if let Some(domain) = missing.filter(|domain| !is_spoilt(domain)) {
            root.object_at(&["stream", name.as_str(), "dkim_domain"], no_such_domain(domain, &dkim.domains));
        }
    }
    let longest = streams.values().map(|stream| stream.retry.expire).max().unwrap_or_default();
    let short = |schedule: &Schedule| schedule.keep < longest;
    let message = "must be at least as long as mail may wait (the longest `expire` of [retry] and the streams): receivers must find the key until then";
    if short(&dkim.rotation) {
        root.object_at(&["dkim", "rotation", "keep"], message.to_owned());
    }
    for (pattern, signing) in dkim.domains.iter().filter(|(_, signing)| short(&signing.rotation) && !short(&dkim.rotation)) {
        if signing.rotation.keep != dkim.rotation.keep {
            root.object_at(&["dkim", "domain", &pattern.to_string(), "rotation", "keep"], message.to_owned());
        }
    }
}

fn signing(t: &Table<'_>, domain: &str, environment: &Environment<'_>, rotation: &Schedule) -> Option<Signing> {
    let sign_subdomains = t.given("sign_subdomains", boolean).unwrap_or(true);
    let identity = t.given("identity", |item| identity(item, domain));
    let rotation = t.table("rotation", |t| schedule(t, Some(rotation)));
    let items = t.need("keys", items)?;
    let keys: Vec<_> = items.into_iter().filter_map(|item| t.inline("keys", item, |t| key(t, environment)).flatten()).collect();
    let twin = |(at, key): (usize, &DkimKey)| keys[..at].iter().any(|other| other.selector == key.selector);
    if keys.iter().enumerate().any(twin) {
        t.object("keys", "two keys have the same selector, but DNS can hold only one of them");
    }
    (!keys.is_empty()).then_some(Signing { sign_subdomains, identity, rotation, keys })
}

/// `[dkim.rotation]` with its defaults, or a domain's own over those.
fn schedule(t: &Table<'_>, general: Option<&Schedule>) -> Schedule {
    let day = Duration::from_hours(24);
    let every = zero_is_none(duration(day..=3650 * day));
    let (ahead, keep) = (duration(Duration::from_hours(1)..=365 * day), duration(day..=365 * day));
    let schedule = match general {
        None => Schedule { every: t.get("every", every), ahead: t.get("publish_ahead", ahead), keep: t.get("keep", keep) },
        Some(general) => Schedule {
            every: t.given("every", every).unwrap_or(general.every),
            ahead: t.given("publish_ahead", ahead).unwrap_or(general.ahead),
            keep: t.given("keep", keep).unwrap_or(general.keep),
        },
    };
    if general != Some(&schedule) && schedule.every.is_some_and(|every| schedule.ahead >= every) {
        t.object_to(
            &["publish_ahead", "every"],
            "publish_ahead must be shorter than every: a key must not be published before the previous key's turn",
        );
    }
    schedule
}

fn header_name(item: Item<'_>) -> Parsed<String> {
    let name = string(item)?;
    // The check demands that From is signed, so the field is checked together with it.
    let options = SignerOptions { headers: vec!["From".into(), name.into()], oversign: Vec::new(), ..SignerOptions::default() };
    options.check().map_or_else(|error| fault(item, error.to_string()), |()| Ok(name.to_owned()))
}

fn canonicalization(item: Item<'_>) -> Parsed<Canonicalization> {
    string(item)?.parse().or_else(|error: SignerError| fault(item, error.to_string()))
}

fn identity(item: Item<'_>, domain: &str) -> Parsed<String> {
    let text = string(item)?;
    check_identity(text, &domain.to_ascii_lowercase()).map_or_else(|error| fault(item, error.to_string()), |()| Ok(text.to_owned()))
}

/// Reports a domain without keys.
fn defined(t: &Table<'_>, key: &str, domain: &Domain, domains: &ByDomain<Signing>) {
    if domains.exact(domain.as_str()).is_none() && !t.is_spoilt_at(&["domain", domain.as_str()]) {
        t.object(key, no_such_domain(domain, domains));
    }
}

fn no_such_domain(domain: &Domain, domains: &ByDomain<Signing>) -> String {
    let all: Vec<String> = domains.iter().map(|(pattern, _)| pattern.to_string()).collect();
    let there = if all.is_empty() { "no domain has keys".to_owned() } else { format!("domains with keys are: {}", all.join(", ")) };
    format!("it has no keys: [dkim.domain.\"{domain}\"] is missing ({there})")
}

fn key(t: &Table<'_>, environment: &Environment<'_>) -> Option<DkimKey> {
    let selector = t.need("selector", from_text::<Domain>);
    let key = t.need("file", |item| private_key(item, environment));
    let (file, key) = key?;
    Some(DkimKey { selector: selector?, file, key })
}

fn private_key(item: Item<'_>, environment: &Environment<'_>) -> Parsed<(PathBuf, Key)> {
    let (path, pem) = environment.text_file(item)?;
    match Key::from_pem(&pem) {
        Ok(key) => Ok((path, key)),
        Err(error) => fault(item, format!("{}: {error}; `posthaste dkim new DOMAIN SELECTOR` makes a key", path.display())),
    }
}

fn signing_domain(text: &str) -> Result<Pattern, String> {
    match Domain::international(text) {
        Ok(domain) if domain.literal().is_none() && domain.as_str().contains('.') => Ok(Pattern::Exact(domain)),
        _ => Err("expected the domain of From fields, such as \"example.com\"".into()),
    }
}
