//! Who wrote a report, by its signatures: what each of them claims, and which of them verify.
//!
//! A signature says that the domain's host wrote the mail, and no more than that: many domains sign whatever their users send, and a signed
//! mail can be sent again to anybody. So a claim has the one address in From, which the signature covers, and the one in To; the caller
//! decides what those have to be.

use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, hickory_resolver::config};

use crate::{
    arc::{KnownRecords, Records, at_once, canonical, tidied},
    message::MessageParts,
};

/// The most signatures that a mail may have: the body is hashed for each of them.
const SIGNATURES_MAX: usize = 8;

/// What a signature claims, before it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorClaim {
    /// The domain that signs (`d=`), in lower case.
    pub domain: String,
    /// The name of the TXT record with its key, in lower case.
    pub key_name: String,
    /// The one address in From, in lower case.
    pub from: String,
    /// The one address in To.
    pub to: String,
}

/// The claims of a mail's signatures: of those that cover the whole body and a From and a To that have one address each and stand in the
/// header once. Others are left out, and so are all if there are more than eight.
pub fn claims(mail: &[u8]) -> Vec<AuthorClaim> {
    let parts = MessageParts::new(&[mail]);
    if !(1..=SIGNATURES_MAX).contains(&fields(&parts, "DKIM-Signature").len()) {
        return Vec::new();
    }
    let (Some(from), Some(to)) = (only_address(&parts, "From"), only_address(&parts, "To")) else { return Vec::new() };
    let Some(parsed) = AuthenticatedMessage::parse(mail) else { return Vec::new() };
    let covers = |names: &[String], name: &str| names.iter().any(|covered| covered.eq_ignore_ascii_case(name));
    let whole = parsed.dkim_headers.iter().map(|header| &header.header).filter(|signature| signature.l == 0);
    whole
        .filter(|signature| covers(&signature.h, "from") && covers(&signature.h, "to"))
        .map(|signature| AuthorClaim {
            domain: canonical(&signature.d),
            key_name: canonical(&format!("{}._domainkey.{}", signature.s, signature.d)),
            from: from.to_ascii_lowercase(),
            to: to.clone(),
        })
        .collect()
}

/// Those claims whose signatures verify with these records, which are those of the claims' [`key_name`](AuthorClaim::key_name)s.
pub fn verified(mail: &[u8], claims: &[AuthorClaim], records: &Records) -> Vec<AuthorClaim> {
    let known = KnownRecords::of(records);
    // As for ARC, a line of blanks at the end is counted by mail-auth, so both forms are tried.
    let forms = [tidied(&[mail]), mail.to_vec()];
    let passed = |claim: &&AuthorClaim| forms.iter().any(|form| passing(form, &known).contains(&claim.key_name));
    claims.iter().filter(passed).cloned().collect()
}

/// The names of the keys whose signatures over the whole body, From and To verify.
fn passing(mail: &[u8], known: &KnownRecords) -> Vec<String> {
    let Some(parsed) = AuthenticatedMessage::parse(mail) else { return Vec::new() };
    // It never sends a query: the records answer every look-up.
    let Ok(verifier) = MessageAuthenticator::new(config::ResolverConfig::default(), config::ResolverOpts::default()) else {
        return Vec::new();
    };
    let outcomes = at_once(verifier.verify_dkim(Parameters::new(&parsed).with_txt_cache(known))).unwrap_or_default();
    let covers = |names: &[String], name: &str| names.iter().any(|covered| covered.eq_ignore_ascii_case(name));
    let good = outcomes.iter().filter(|outcome| *outcome.result() == DkimResult::Pass).filter_map(|outcome| outcome.signature());
    good.filter(|signature| signature.l == 0 && covers(&signature.h, "from") && covers(&signature.h, "to"))
        .map(|signature| canonical(&format!("{}._domainkey.{}", signature.s, signature.d)))
        .collect()
}

/// The values of a header's fields of this name.
fn fields<'h>(parts: &'h MessageParts<'_>, name: &str) -> Vec<&'h [u8]> {
    let is_it = |field: &[u8]| field.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
    parts.fields().into_iter().filter(|(field, _)| is_it(field)).map(|(_, value)| value).collect()
}

/// The address of a field that stands in the header once and has one address and nothing that could be read as another.
fn only_address(parts: &MessageParts<'_>, name: &str) -> Option<String> {
    let all = fields(parts, name);
    let [value] = &all[..] else { return None };
    let value = std::str::from_utf8(value).ok()?.trim();
    let one = |text: &str, what: char| text.matches(what).count() == 1;
    if !one(value, '@') || value.contains(['(', ',', ';', '\\']) {
        return None;
    }
    let address = match value.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>')?,
        None => value,
    };
    let is_plain =
        address.contains('@') && address.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b':'));
    is_plain.then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Key, Signer, SignerOptions};

    const HEADER: &str = "From: Mail Delivery <MAILER-DAEMON@mx.example>\r\nTo: <b+code@bounce.example>\r\nSubject: failed\r\nDate: x\r\n";

    /// The mail under a signature of `d`, with the record of its key.
    fn signed(header: &str, body: &str, d: &str) -> (Vec<u8>, Records) {
        let (key, _) = Key::generate(Algorithm::Ed25519Sha256).unwrap();
        let record = key.public_record();
        let signer = Signer::new(d, "s1", key, &SignerOptions::default()).unwrap();
        let header = format!("{header}\r\n");
        let field = signer.sign(&[header.as_bytes(), body.as_bytes()], 1_790_000_000).unwrap();
        let mail = format!("{field}{header}{body}").into_bytes();
        (mail, Records::from([(format!("s1._domainkey.{d}"), Ok(vec![record]))]))
    }

    fn authors(mail: &[u8], records: &Records) -> Vec<(String, String, String)> {
        let all = claims(mail);
        verified(mail, &all, records).into_iter().map(|claim| (claim.domain, claim.from, claim.to)).collect()
    }

    #[test]
    fn a_signature_that_verifies_says_who_wrote_to_whom() {
        let (mail, records) = signed(HEADER, "It failed.\r\n", "mx.example");
        let author = ("mx.example".to_owned(), "mailer-daemon@mx.example".to_owned(), "b+code@bounce.example".to_owned());
        assert_eq!(authors(&mail, &records), [author]);
        assert_eq!(authors(&mail, &Records::new()), []);
    }

    #[test]
    fn nothing_of_what_is_signed_can_be_changed_or_doubled() {
        let (mail, records) = signed(HEADER, "It failed.\r\n", "mx.example");
        let text = String::from_utf8(mail).unwrap();
        let (signature, rest) = text.split_at(text.find("From: Mail").unwrap());
        for forged in [
            text.replace("It failed", "He died"),
            text.replace("b+code", "b+other"),
            format!("{signature}To: <b+other@bounce.example>\r\n{rest}"),
            format!("From: postmaster@mx.example\r\n{text}"),
            format!("from : postmaster@mx.example\r\n{text}"),
            format!("To: b+other@bounce.example\r\n{text}"),
            format!("{text}One more line.\r\n"),
        ] {
            assert_eq!(authors(forged.as_bytes(), &records), [], "{forged}");
        }
        // A signature over a part of the body claims nothing.
        let part = text.replace("; d=mx.example", "; l=3; d=mx.example");
        assert!(part != text && claims(part.as_bytes()).is_empty(), "{part}");
        let many = format!("{}{text}", signature.repeat(SIGNATURES_MAX));
        assert_eq!(claims(many.as_bytes()), []);
    }

    #[test]
    fn a_field_with_more_than_one_reading_claims_nothing() {
        for (from, to) in [
            ("a@x.example, b@y.example", "<p@b.example>"),
            ("a@x.example (b@y.example)", "<p@b.example>"),
            ("\"a@x.example\" <b@y.example>", "<p@b.example>"),
            ("a@x.example", "p@b.example, q@b.example"),
            ("a@x.example", "undisclosed-recipients:;"),
            ("a@x.example", "<p@b.example> x"),
        ] {
            let (mail, _) = signed(&format!("From: {from}\r\nTo: {to}\r\n"), "x\r\n", "x.example");
            assert_eq!(claims(&mail), [], "{from} {to}");
        }
    }
}
