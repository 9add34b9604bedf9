//! TLS errors as sentences that say what to do. rustls names what its code found.

use std::{fmt::Write, io};

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// The TLS error inside an I/O error.
pub fn inside(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Why the handshake with a receiver failed, and the remedy, if it is the relay's.
pub fn of_receiver(error: &Error, host: &str) -> String {
    match error {
        Error::InvalidCertificate(why) => of_certificate(why, host),
        Error::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity,
        ) => {
            format!(
                "{host} has no TLS version or cipher suite in common with this relay, which speaks TLS 1.2 (with ECDHE) and 1.3 ({error})"
            )
        }
        Error::AlertReceived(alert) => format!("{host} broke it off with the alert {alert:?}"),
        Error::PeerIncompatible(why) => {
            format!("{host} speaks only older TLS than this relay, which speaks TLS 1.2 (with ECDHE) and 1.3 ({why:?})")
        }
        Error::InvalidMessage(why) => format!("what {host} sent is not TLS ({why:?})"),
        other => other.to_string(),
    }
}

fn of_certificate(why: &CertificateError, host: &str) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {host} has expired; only {host} can mend that, or this host's clock is wrong")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {host} is not valid yet; perhaps this host's clock is wrong")
        }
        CertificateError::Revoked => format!("the certificate of {host} was revoked"),
        CertificateError::NotValidForName => format!("the certificate is not for the name {host}"),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let mut text = format!("the certificate is not for the name {host}");
            if !presented.is_empty() {
                // Writing to a String cannot fail.
                let _ = write!(text, ", but for {}", presented.join(", "));
            }
            text + "; a route by the right name, or tls = \"require\" for any certificate, would do"
        }
        CertificateError::UnknownIssuer => untrusted(host, "comes from an authority that is not trusted here"),
        CertificateError::BadSignature => untrusted(host, "is not signed by the authority that it names"),
        // How webpki calls a certificate that signed itself; it comes wrapped.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => untrusted(host, "is signed by itself"),
        other => format!("the certificate of {host} is not valid: {other}"),
    }
}

fn untrusted(host: &str, what: &str) -> String {
    format!("the certificate of {host} {what}; add its authority to tls.roots, or demand no valid certificate there (tls = \"require\")")
}

/// Why the handshake with a client failed, and the remedy.
pub fn of_client(error: &Error) -> String {
    match error {
        Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::UnsupportedCertificate,
        ) => format!(
            "the client does not trust this relay's certificate ({error}): give the listener one of an authority that it knows, or have it trust this one"
        ),
        Error::AlertReceived(alert) => format!("the client broke it off with the alert {alert:?}"),
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NoCipherSuitesInCommon) => {
            format!(
                "the client has no cipher suite in common with this relay, which wants ECDHE ({error}): its TLS library is too old or set up too narrowly"
            )
        }
        Error::PeerIncompatible(why) => {
            format!("the client speaks only TLS older than 1.2 ({why:?}): its TLS library has to be renewed")
        }
        Error::InvalidMessage(why) => {
            format!("what the client sent is not TLS ({why:?}): its settings for TLS and port do not fit this listener")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_a_sentence_that_names_the_host_or_the_client() {
        let named = CertificateError::NotValidForNameContext {
            expected: "mx.example".try_into().unwrap(),
            presented: vec!["other.example".into()],
        };
        for (error, says) in [
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "an authority that is not trusted"),
            (Error::InvalidCertificate(CertificateError::Expired), "has expired"),
            (Error::InvalidCertificate(named), "but for other.example"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), "in common"),
            (Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon), "older TLS"),
        ] {
            let text = of_receiver(&error, "mx.example");
            assert!(text.contains("mx.example") && text.contains(says), "{text}");
        }
        let untrusting = of_client(&Error::AlertReceived(AlertDescription::UnknownCA));
        assert!(untrusting.contains("does not trust") && untrusting.contains("UnknownCA"), "{untrusting}");
        assert!(of_client(&Error::PeerIncompatible(PeerIncompatible::SignatureAlgorithmsExtensionRequired)).contains("older than 1.2"));
    }
}
