//! Signatures: the fields that one covers, and the header field that carries it.

use mail_auth::{
    common::{
        crypto::{Algorithm as Tag, HashContext as _, HashImpl, Sha256, SigningKey as _},
        headers::{Writable, Writer},
    },
    dkim::{self, Signature, canonicalize::BodyHasher},
};

use crate::{
    key::{Algorithm, Key},
    message::{HeaderField, MessageParts},
    options::{Canonicalization, Covered, Form, SignerError, SignerOptions, check_identity, covered},
};

/// Why a message was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The message has no From field, which a signature has to cover (RFC 6376 §5.4).
    #[error("the message has no From header field")]
    NoFrom,
    /// The crypto library failed.
    #[error("the signature failed: {0}")]
    Crypto(String),
}

/// Signs for one domain with one key. It can be used from several threads at once.
#[derive(Clone, Debug)]
pub struct Signer {
    domain: String,
    selector: String,
    key: Key,
    headers: Vec<Covered>,
    expire: Option<u64>,
    canonicalization: Canonicalization,
    identity: String,
}

impl Signer {
    /// A signer for `d=domain; s=selector`.
    pub fn new(domain: &str, selector: &str, key: Key, options: &SignerOptions) -> Result<Self, SignerError> {
        let domain = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
        if !is_name(&domain) || !domain.contains('.') {
            return Err(SignerError::Domain(domain));
        }
        if !is_name(selector) {
            return Err(SignerError::Selector(selector.into()));
        }
        if options.expire.is_some_and(|time| time.as_secs() == 0) {
            return Err(SignerError::ExpiresAtOnce);
        }
        if let Some(identity) = &options.identity {
            check_identity(identity, &domain)?;
        }
        Ok(Self {
            domain,
            selector: selector.into(),
            key,
            headers: covered(options)?,
            expire: options.expire.map(|time| time.as_secs()),
            canonicalization: options.canonicalization,
            identity: options.identity.clone().unwrap_or_default(),
        })
    }

    /// The signing domain: `d=`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The selector, the name of the key in DNS: `s=`.
    pub fn selector(&self) -> &str {
        &self.selector
    }

    /// The key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The whole `DKIM-Signature: …\r\n` field for a message, to be put before it. `parts`, joined, are the message with CRLF line
    /// ends; `now` is in seconds since 1970. It takes a fraction of a millisecond of one core: see examples/sign_speed.rs.
    pub fn sign(&self, parts: &[&[u8]], now: u64) -> Result<String, SignError> {
        sign_all([self], parts, now)
    }

    pub(crate) fn covered(&self) -> &[Covered] {
        &self.headers
    }

    fn field(&self, fields: &[HeaderField<'_>], body_hash: Vec<u8>, now: u64) -> Result<String, SignError> {
        let (names, covered) = self.select(fields);
        let mut signature = Signature {
            v: 1,
            a: match self.key.algorithm() {
                Algorithm::RsaSha256 => Tag::RsaSha256,
                Algorithm::Ed25519Sha256 => Tag::Ed25519Sha256,
            },
            d: self.domain.clone(),
            s: self.selector.clone(),
            i: self.identity.clone(),
            h: names,
            bh: body_hash,
            t: now,
            x: self.expire.map_or(0, |seconds| now.saturating_add(seconds)),
            ch: form(self.canonicalization.header),
            cb: form(self.canonicalization.body),
            ..Signature::default()
        };
        let signed = self.key.signing().sign(Signable { covered: &covered, signature: &signature });
        signature.b = signed.map_err(|error| SignError::Crypto(error.to_string()))?;
        let mut field = Vec::with_capacity(1024);
        signature.write(&mut field, true);
        Ok(String::from_utf8(field).expect("names, base64 and digits are ASCII"))
    }

    /// The names for `h=`, and the fields that they refer to. RFC 6376 §5.4.2: fields of one name are taken from the bottom up.
    fn select<'m>(&self, fields: &[HeaderField<'m>]) -> (Vec<String>, Vec<HeaderField<'m>>) {
        let mut names = Vec::with_capacity(fields.len() + 8);
        let mut covered = Vec::with_capacity(fields.len());
        for header in &self.headers {
            let present = fields.iter().rev().filter(|(name, _)| name.trim_ascii_end().eq_ignore_ascii_case(header.name.as_bytes()));
            for &(name, value) in present {
                // RFC 6376 §3.4.2 deletes blanks before the colon; §3.4.1 keeps them.
                let relaxed = self.canonicalization.header == Form::Relaxed;
                covered.push((if relaxed { name.trim_ascii_end() } else { name }, value));
                names.push(header.name.clone());
            }
            if header.oversigned {
                names.push(header.name.clone());
            }
        }
        (names, covered)
    }
}

/// The signature fields of all signers, to be put before the message. Body hashes that signers share are computed once.
pub fn sign_all<'s>(signers: impl IntoIterator<Item = &'s Signer>, parts: &[&[u8]], now: u64) -> Result<String, SignError> {
    let message = MessageParts::new(parts);
    let fields = message.fields();
    if !fields.iter().any(|(name, _)| name.trim_ascii_end().eq_ignore_ascii_case(b"From")) {
        return Err(SignError::NoFrom);
    }
    let (mut relaxed, mut simple) = (None, None);
    let mut hash = |form| match form {
        Form::Relaxed => relaxed.get_or_insert_with(|| body_hash(&message, Form::Relaxed)).clone(),
        Form::Simple => simple.get_or_insert_with(|| body_hash(&message, Form::Simple)).clone(),
    };
    signers.into_iter().map(|signer| signer.field(&fields, hash(signer.canonicalization.body), now)).collect()
}

struct Signable<'a> {
    covered: &'a [HeaderField<'a>],
    signature: &'a Signature,
}

impl Writable for Signable<'_> {
    fn write(self, writer: &mut impl Writer) {
        self.signature.ch.canonicalize_headers(self.covered.iter().copied(), writer);
        self.signature.write(writer, false);
    }
}

fn form(form: Form) -> dkim::Canonicalization {
    match form {
        Form::Relaxed => dkim::Canonicalization::Relaxed,
        Form::Simple => dkim::Canonicalization::Simple,
    }
}

fn body_hash(message: &MessageParts<'_>, by: Form) -> Vec<u8> {
    let mut hasher = BodyHasher::new(Sha256::hasher(), form(by), 0);
    let body = match by {
        Form::Relaxed => message.relaxed_body(),
        Form::Simple => message.body.clone(),
    };
    for part in body {
        hasher.write(part);
    }
    // This adds the line end that was cut off, or that the message never had.
    let (hash, _) = hasher.finish();
    hash.complete().as_ref().to_vec()
}

/// Labels of letters, digits, hyphens and underscores, joined by dots.
fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let label = |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(fits) && !l.starts_with('-') && !l.ends_with('-');
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn signer(options: &SignerOptions) -> Result<Signer, SignerError> {
        let key = Key::from_pem(include_str!("../tests/keys/ed25519.pem")).unwrap();
        Signer::new("example.com", "s1", key, options)
    }

    fn tag(field: &str, name: &str) -> Option<String> {
        let unfolded: String = field.split_ascii_whitespace().collect();
        unfolded.strip_prefix("DKIM-Signature:")?.split(';').find_map(|tag| tag.strip_prefix(&format!("{name}="))).map(Into::into)
    }

    #[test]
    fn fields_are_signed_where_present_and_once_more_where_oversigned() {
        let options = SignerOptions {
            headers: vec!["from".into(), "To".into(), "Cc".into(), "X-A".into()],
            oversign: vec!["From".into(), "Subject".into()],
            ..SignerOptions::default()
        };
        let message: [&[u8]; 1] = [b"To: a\r\nFrom: b\r\nx-a: 1\r\nX-A: 2\r\n\r\n"];
        let field = signer(&options).unwrap().sign(&message, 5).unwrap();
        assert_eq!(tag(&field, "h").unwrap(), "from:from:To:X-A:X-A:Subject");
        assert_eq!(tag(&field, "t").unwrap(), "5");
        assert_eq!(tag(&field, "x"), None);
    }

    #[test]
    fn a_signature_expires_when_it_is_told_to() {
        let options = SignerOptions { expire: Some(Duration::from_secs(3600)), ..SignerOptions::default() };
        let field = signer(&options).unwrap().sign(&[b"From: b\r\n\r\n"], 5).unwrap();
        assert_eq!(tag(&field, "x").unwrap(), "3605");
    }

    #[test]
    fn a_field_added_to_the_top_of_the_same_name_is_covered_by_the_oversigning() {
        let signer = signer(&SignerOptions::default()).unwrap();
        let one = signer.sign(&[b"From: b\r\nSubject: x\r\n\r\n"], 5).unwrap();
        let two = signer.sign(&[b"Subject: y\r\nFrom: b\r\nSubject: x\r\n\r\n"], 5).unwrap();
        assert_ne!(tag(&one, "b"), tag(&two, "b"));
        assert!(tag(&one, "h").unwrap().contains("Subject:Subject:Date:Message-ID"));
        assert!(tag(&one, "h").unwrap().contains("List-Unsubscribe:List-Unsubscribe-Post"));
    }

    #[test]
    fn a_field_line_is_never_too_long() {
        let name = "X-".to_owned() + &"a".repeat(74);
        let options = SignerOptions { headers: vec!["From".into(), name.clone()], oversign: vec![], ..SignerOptions::default() };
        let message = format!("From: b\r\n{}\r\n", format!("{name}: 1\r\n").repeat(40));
        let field = signer(&options).unwrap().sign(&[message.as_bytes()], 5).unwrap();
        assert!(field.lines().all(|line| line.len() <= 100), "{field}");
        assert!(field.ends_with(";\r\n") && !field.contains("\r\n\r\n"));
    }

    #[test]
    fn a_message_without_from_is_not_signed() {
        let signer = signer(&SignerOptions::default()).unwrap();
        for message in [&b"To: a\r\n\r\nFrom: b\r\n"[..], b"\r\nFrom: b\r\n", b""] {
            assert_eq!(signer.sign(&[message], 5).unwrap_err(), SignError::NoFrom);
        }
    }

    #[test]
    fn a_signer_is_refused_what_would_not_verify() {
        let key = || Key::from_pem(include_str!("../tests/keys/ed25519.pem")).unwrap();
        let with = |domain: &str, selector: &str| Signer::new(domain, selector, key(), &SignerOptions::default()).map(drop);
        assert_eq!(with("Example.COM.", "2026-11.mail"), Ok(()));
        for bad in ["", "localhost", "a..b", "exämple.com", "a b.com", "example.com;x=1"] {
            assert!(matches!(with(bad, "s1"), Err(SignerError::Domain(_))), "{bad}");
        }
        for bad in ["", ".", "s 1", "s;1", "-s"] {
            assert!(matches!(with("example.com", bad), Err(SignerError::Selector(_))), "{bad}");
        }
        let at_once = SignerOptions { expire: Some(Duration::from_millis(5)), ..SignerOptions::default() };
        assert_eq!(signer(&at_once).unwrap_err(), SignerError::ExpiresAtOnce);
    }

    /// RFC 6376 §3.4.4, word by word and slowly.
    fn relaxed_body(body: &str) -> String {
        let mut lines: Vec<String> = body.split("\r\n").map(|line| squeeze(line).trim_end().to_owned()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines.into_iter().map(|line| line + "\r\n").collect()
    }

    fn squeeze(line: &str) -> String {
        let mut out = String::new();
        for c in line.chars() {
            let c = if c == '\t' { ' ' } else { c };
            if c != ' ' || !out.ends_with(' ') {
                out.push(c);
            }
        }
        out
    }

    fn sha256(text: &str) -> Vec<u8> {
        let mut hash = Sha256::hasher();
        hash.write(text.as_bytes());
        hash.complete().as_ref().to_vec()
    }

    #[test]
    fn an_identity_stands_in_its_tag() {
        let options = SignerOptions { identity: Some("news@eu.example.com".into()), ..SignerOptions::default() };
        let field = signer(&options).unwrap().sign(&[b"From: b\r\n\r\n"], 5).unwrap();
        assert_eq!(tag(&field, "i").unwrap(), "news@eu.example.com");
        let strange = SignerOptions { identity: Some("news@example.org".into()), ..SignerOptions::default() };
        assert!(matches!(signer(&strange).unwrap_err(), SignerError::Identity { .. }));
    }

    #[test]
    fn several_signers_sign_as_each_would_alone() {
        let simple = SignerOptions { canonicalization: "simple/simple".parse().unwrap(), ..SignerOptions::default() };
        let (one, two) = (signer(&SignerOptions::default()).unwrap(), signer(&simple).unwrap());
        let message: [&[u8]; 2] = [b"From: b\r\n\r\n", b"x  y \r\n\r\n"];
        let both = sign_all([&one, &two], &message, 5).unwrap();
        assert_eq!(both, one.sign(&message, 5).unwrap() + &two.sign(&message, 5).unwrap());
        assert!(both.contains("c=relaxed/relaxed") && both.contains("c=simple/simple"));
    }

    proptest! {
        #[test]
        fn the_body_hash_is_that_of_the_rfc(tokens in prop::collection::vec(prop::sample::select(vec!["a", "bc", " ", "\t", "\r\n", "é", "."]), 0..40), cut in 0usize..60) {
            let body = tokens.concat();
            let text = format!("From: x\r\n\r\n{body}");
            let cut = text.floor_char_boundary(cut.min(text.len()));
            let message = MessageParts::new(&[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]);
            prop_assert_eq!(body_hash(&message, Form::Relaxed), sha256(&relaxed_body(&body)));
            prop_assert_eq!(body_hash(&message, Form::Simple), sha256(&(body.trim_end_matches("\r\n").to_owned() + "\r\n")));
        }
    }
}
