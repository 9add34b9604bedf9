//! Whether a DKIM signature speaks for the author: its domain and that of the From field belong to one organisation (relaxed alignment, RFC 9989
//! §4.4, which DMARC asks for).

/// Whether a signature of the domain `signer` is aligned with a From field of the domain `from`; both in lower case, in ASCII.
pub fn aligned(from: &str, signer: &str) -> bool {
    // Most are the same; only others need the public suffix list.
    from == signer || psl::domain_str(from).is_some_and(|owner| psl::domain_str(signer) == Some(owner))
}

/// The domain of a DKIM-Signature field (its `d=` tag, RFC 6376 §3.5), in lower case.
pub(crate) fn signer(field: &str) -> Option<String> {
    field
        .split(';')
        .find_map(|tag| tag.trim().strip_prefix('d')?.trim_start().strip_prefix('='))
        .map(|domain| domain.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_of_one_organisation_are_aligned() {
        for (from, by, so) in [
            ("x.org", "x.org", true),
            ("news.x.org", "x.org", true),
            ("x.org", "mail.x.org", true),
            ("news.x.org", "mail.x.org", true),
            ("x.org", "y.org", false),
            ("ax.org", "x.org", false),
            ("a.co.uk", "b.co.uk", false),
            ("a.co.uk", "co.uk", false),
            ("a.co.uk", "m.a.co.uk", true),
            ("localhost", "localhost", true),
        ] {
            assert_eq!(aligned(from, by), so, "{from} {by}");
        }
    }

    #[test]
    fn the_domain_of_a_signature_is_its_d_tag() {
        assert_eq!(signer("v=1; a=rsa-sha256; bh=d=; d = X.org ; s=a; b=abc").as_deref(), Some("x.org"));
        assert_eq!(signer("v=1; dd=x"), None);
    }
}
