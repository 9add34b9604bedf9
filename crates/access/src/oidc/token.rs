//! ID tokens (OpenID Connect Core §2), and the keys that prove them.

use std::collections::HashSet;

use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, Header, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Seconds by which the provider's clock may differ from ours.
const LEEWAY: i64 = 60;
/// The most keys that a provider may have.
const KEYS_MAX: usize = 64;
/// The longest subject (§2).
const SUBJECT_MAX: usize = 255;

/// What a token must be about.
pub(super) struct Expected<'e> {
    pub(super) issuer: &'e str,
    pub(super) client: &'e str,
    pub(super) nonce: &'e str,
}

/// Why a token proves nothing. The reason contains nothing of the token but what its issuer and its times are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unverified {
    /// It is signed by a key that is not among these.
    UnknownKey,
    /// It is wrong.
    Wrong(String),
}

/// The provider's keys for signatures.
#[derive(Debug)]
pub(super) struct Keys(Vec<Jwk>);

/// A set of keys (RFC 7517 §5).
#[derive(Debug, Deserialize)]
pub(super) struct Published {
    keys: Vec<Value>,
}

impl Keys {
    /// Those of them that we understand (§5: others are ignored) and that are for signatures.
    pub(super) fn of(published: Published) -> Self {
        let keys = published.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let signs = |key: &Jwk| key.common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
        Self(keys.filter(signs).take(KEYS_MAX).collect())
    }

    /// The keys by which a token with this header may be signed.
    fn fitting<'k>(&'k self, header: &'k Header) -> impl Iterator<Item = DecodingKey> + 'k {
        let named = |key: &&Jwk| header.kid.is_none() || key.common.key_id == header.kid;
        let meant = |key: &&Jwk| key.common.key_algorithm.is_none_or(|algorithm| algorithm == KeyAlgorithm::from(header.alg));
        let keys = self.0.iter().filter(named).filter(meant).filter_map(|key| DecodingKey::from_jwk(key).ok());
        keys.filter(|key| key.family() == family(header.alg))
    }
}

/// The claims of a token that is signed by one of these keys, and is about what was expected (§3.1.3.7).
pub(super) fn verify(token: &str, keys: &Keys, expected: &Expected<'_>, now: Timestamp) -> Result<Map<String, Value>, Unverified> {
    let wrong = |why: &str| Unverified::Wrong(why.to_owned());
    let header = decode_header(token).map_err(|_| wrong("it is no signed token of a kind that is known here"))?;
    if family(header.alg) == AlgorithmFamily::Hmac {
        return Err(wrong("it is signed with a shared secret, and not with a key that the provider publishes"));
    }
    let claims = signed(token, &header, keys)?;
    about(&claims, expected, now).map_err(Unverified::Wrong)?;
    Ok(claims)
}

/// Checks the signature.
fn signed(token: &str, header: &Header, keys: &Keys) -> Result<Map<String, Value>, Unverified> {
    let mut validation = Validation::new(header.alg);
    // `about` checks the claims, by our clock.
    (validation.validate_exp, validation.validate_aud, validation.required_spec_claims) = (false, false, HashSet::new());
    let mut fitting = keys.fitting(header).peekable();
    if fitting.peek().is_none() {
        return Err(Unverified::UnknownKey);
    }
    let mut all = fitting.map(|key| decode::<Map<String, Value>>(token, &key, &validation));
    match all.find(|tried| !tried.as_ref().is_err_and(|error| *error.kind() == ErrorKind::InvalidSignature)) {
        Some(Ok(token)) => Ok(token.claims),
        Some(Err(error)) => Err(Unverified::Wrong(error.to_string())),
        None if header.kid.is_none() => Err(Unverified::UnknownKey),
        None => Err(Unverified::Wrong("its signature is wrong".into())),
    }
}

fn about(claims: &Map<String, Value>, expected: &Expected<'_>, now: Timestamp) -> Result<(), String> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    let now = now.as_second();
    let early = (now + LEEWAY) as f64;
    if text("iss") != Some(expected.issuer) {
        return Err("it is of another issuer".into());
    }
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !audience.contains(&expected.client) {
        return Err("it is not for this client".into());
    }
    if claims.contains_key("azp") || audience.len() > 1 {
        match text("azp") {
            Some(party) if party == expected.client => {}
            _ => return Err("it was issued to another client".into()),
        }
    }
    match time("exp") {
        Some(until) if until > (now - LEEWAY) as f64 => {}
        Some(_) => return Err("it has expired: compare this host's clock with the provider's".into()),
        None => return Err("it does not say when it expires".into()),
    }
    if ["iat", "nbf"].into_iter().filter_map(time).any(|from| from > early) {
        return Err("it is from the future: compare this host's clock with the provider's".into());
    }
    if text("nonce") != Some(expected.nonce) {
        return Err("it is about another login".into());
    }
    match text("sub") {
        Some(subject) if !subject.is_empty() && subject.len() <= SUBJECT_MAX => Ok(()),
        _ => Err("it does not say about whom it is".into()),
    }
}

fn family(algorithm: Algorithm) -> AlgorithmFamily {
    let all = [AlgorithmFamily::Rsa, AlgorithmFamily::Ec, AlgorithmFamily::Ed];
    all.into_iter().find(|family| family.algorithms().contains(&algorithm)).unwrap_or(AlgorithmFamily::Hmac)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        rsa::KeySize,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
    };
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
    use serde_json::json;

    use super::*;

    const EXPECTED: Expected<'_> = Expected { issuer: "https://login.example.com", client: "posthaste", nonce: "n1" };

    /// A key that signs, by its id.
    struct Signer(&'static str, EcdsaKeyPair);

    impl Signer {
        fn new(id: &'static str) -> Self {
            Self(id, EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
        }

        fn public(&self) -> Value {
            let point = self.1.public_key().as_ref();
            let part = |of: &[u8]| BASE64.encode(of);
            json!({ "kty": "EC", "crv": "P-256", "kid": self.0, "use": "sig", "x": part(&point[1..33]), "y": part(&point[33..]) })
        }

        fn token(&self, header: &Value, claims: &Value) -> String {
            let text = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
            let signature = self.1.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
            format!("{text}.{}", BASE64.encode(signature))
        }

        fn signs(&self, claims: &Value) -> String {
            self.token(&json!({ "alg": "ES256", "kid": self.0 }), claims)
        }
    }

    fn keys(all: &[Value]) -> Keys {
        Keys::of(serde_json::from_value(json!({ "keys": all })).unwrap())
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn claims(more: &Value) -> Value {
        let mut claims = json!({
            "iss": EXPECTED.issuer, "aud": "posthaste", "sub": "248289761001", "nonce": "n1", "iat": 1_800_000_000, "exp": 1_800_000_300, "groups": ["staff"],
        });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    #[test]
    fn a_token_that_is_signed_and_about_this_login_is_believed() {
        let signer = Signer::new("k1");
        let keys = keys(&[json!({ "kty": "new kind", "kid": "k0" }), Signer::new("k2").public(), signer.public()]);
        let is_right = |claims: Value| verify(&signer.signs(&claims), &keys, &EXPECTED, now()).map(|claims| claims["groups"].clone());
        for more in
            [json!({}), json!({ "aud": ["x", "posthaste"], "azp": "posthaste" }), json!({ "exp": 1_799_999_941, "iat": 1_800_000_060 })]
        {
            assert_eq!(is_right(claims(&more)), Ok(json!(["staff"])), "{more}");
        }
        let unnamed = signer.token(&json!({ "alg": "ES256" }), &claims(&json!({})));
        assert!(verify(&unnamed, &keys, &EXPECTED, now()).is_ok(), "all keys are tried");
    }

    #[test]
    fn a_token_about_something_else_is_refused() {
        let signer = Signer::new("k1");
        let keys = keys(&[signer.public()]);
        for (more, why) in [
            (json!({ "iss": "https://evil.test" }), "another issuer"),
            (json!({ "iss": [EXPECTED.issuer] }), "another issuer"),
            (json!({ "aud": "other" }), "not for this client"),
            (json!({ "aud": null }), "not for this client"),
            (json!({ "aud": ["other", "posthaste"] }), "another client"),
            (json!({ "azp": "other" }), "another client"),
            (json!({ "exp": 1_799_999_940 }), "expired"),
            (json!({ "exp": "1800000300" }), "when it expires"),
            (json!({ "iat": 1_800_000_061 }), "future"),
            (json!({ "nbf": 1_800_000_061 }), "future"),
            (json!({ "nonce": "n2" }), "another login"),
            (json!({ "nonce": null }), "another login"),
            (json!({ "sub": "" }), "about whom"),
            (json!({ "sub": 7 }), "about whom"),
        ] {
            let refused = verify(&signer.signs(&claims(&more)), &keys, &EXPECTED, now());
            assert!(matches!(&refused, Err(Unverified::Wrong(said)) if said.contains(why)), "{more}: {refused:?}");
        }
    }

    #[test]
    fn only_a_published_key_for_signatures_proves_something() {
        let (signer, other) = (Signer::new("k1"), Signer::new("k1"));
        let right = claims(&json!({}));
        let check = |token: &str, published: &[Value]| verify(token, &keys(published), &EXPECTED, now());
        assert!(matches!(check(&other.signs(&right), &[signer.public()]), Err(Unverified::Wrong(_))), "another key of that name");
        assert_eq!(check(&Signer::new("k9").signs(&right), &[signer.public()]), Err(Unverified::UnknownKey));
        let mut encrypts = signer.public();
        encrypts["use"] = json!("enc");
        assert_eq!(check(&signer.signs(&right), &[encrypts]), Err(Unverified::UnknownKey));
        let mut elsewhere = signer.public();
        elsewhere["alg"] = json!("ES384");
        assert_eq!(check(&signer.signs(&right), &[elsewhere]), Err(Unverified::UnknownKey));
        for algorithm in ["none", "HS256", "RS256", "ES384"] {
            let token = signer.token(&json!({ "alg": algorithm, "kid": "k1" }), &right);
            assert!(check(&token, &[signer.public(), json!({ "kty": "oct", "kid": "k1", "k": "c2VjcmV0" })]).is_err(), "{algorithm}");
        }
        let mut spoilt = signer.signs(&right);
        spoilt.truncate(spoilt.len() - 2);
        for bad in [spoilt.as_str(), "", "a.b", "a.b.c", "....", &format!("{}x", signer.signs(&right))] {
            assert!(check(bad, &[signer.public()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_kind_of_signature_that_every_provider_makes_is_checked_too() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = pair.public_key();
        let part = |bytes: &[u8]| BASE64.encode(bytes);
        let key = json!({
            "kty": "RSA", "kid": "r1", "alg": "RS256",
            "n": part(public.modulus().big_endian_without_leading_zero()), "e": part(public.exponent().big_endian_without_leading_zero()),
        });
        let text = format!("{}.{}", BASE64.encode(r#"{"alg":"RS256","kid":"r1"}"#), BASE64.encode(claims(&json!({})).to_string()));
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        let token = |signature: &[u8]| format!("{text}.{}", BASE64.encode(signature));
        assert!(verify(&token(&signature), &keys(std::slice::from_ref(&key)), &EXPECTED, now()).is_ok());
        signature[7] ^= 1;
        assert!(verify(&token(&signature), &keys(&[key]), &EXPECTED, now()).is_err());
    }
}
