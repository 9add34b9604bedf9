//! The TLS keys of `[listen.NAME]`: whether TLS is used, with which certificates, and which client certificates are accepted.

use std::{path::PathBuf, sync::Arc};

use posthaste_certificates::{AcmeNames, ListenCertificate, Pair, PairFiles};
use posthaste_submission::{ListenTls, ListenTlsMode};

use super::{
    environment::Environment,
    reader::{Item, Parsed, Table, fault},
    reference::names,
    value::{boolean, items, one_of},
};

pub(super) fn read(t: &Table<'_>, environment: &Environment<'_>) -> ListenTls {
    let modes = [("none", ListenTlsMode::None), ("starttls", ListenTlsMode::StartTls), ("implicit", ListenTlsMode::Implicit)];
    let mode = t.get("tls", one_of(&modes));
    let required = t.get("require_tls", boolean);
    let (certificates, acme) = shown(t, environment);
    let client_ca = t.given("client_ca", |item| authorities(item, environment));
    if mode == ListenTlsMode::None && required {
        t.object_to(&["require_tls", "tls"], "no client could ever send here: require_tls needs tls = \"starttls\" or \"implicit\"");
    }
    ListenTls { mode, required, certificates, acme, client_ca }
}

/// What is shown: the certificates of files, or the names of one that is ordered.
pub(super) fn shown(t: &Table<'_>, environment: &Environment<'_>) -> (Vec<ListenCertificate>, AcmeNames) {
    let mut certificates: Vec<_> = pair(t, environment, false).into_iter().collect();
    for item in t.given("certificates", items).into_iter().flatten() {
        certificates.extend(t.inline("certificates", item, |t| pair(t, environment, true)).flatten());
    }
    let acme = t.given("acme", names).unwrap_or_default();
    if !acme.is_empty() && ["certificate", "key", "certificates"].iter().any(|key| t.has(key)) {
        t.object(
            "acme",
            "the certificate comes from the ACME authority or from files, not from both: remove certificate, key and certificates",
        );
    }
    (certificates, acme)
}

/// `certificate` and `key`; both may be missing unless `needed`.
fn pair(t: &Table<'_>, environment: &Environment<'_>, needed: bool) -> Option<ListenCertificate> {
    let wanted = needed || t.has("certificate") || t.has("key");
    let file =
        |key| if wanted { t.need(key, |item| environment.text_file(item)) } else { t.given(key, |item| environment.text_file(item)) };
    let (certificate, key) = (file("certificate"), file("key"));
    let ((certificate, chain), (key, key_pem)) = (certificate?, key?);
    match Pair::from_pem(&chain, &key_pem) {
        Ok(pair) => Some(ListenCertificate { files: PairFiles { certificate, key }, pair: Arc::new(pair) }),
        Err(error) => {
            t.object("certificate", format!("{} with {}: {error}", certificate.display(), key.display()));
            None
        }
    }
}

fn authorities(item: Item<'_>, environment: &Environment<'_>) -> Parsed<(PathBuf, String)> {
    match environment.text_file(item)? {
        (path, pem) if pem.contains("-----BEGIN CERTIFICATE-----") => Ok((path, pem)),
        (path, _) => fault(item, format!("{} contains no PEM certificate", path.display())),
    }
}
