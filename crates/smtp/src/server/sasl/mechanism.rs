//! The ways to log in.

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Never more than a draft, but what old clients and appliances have.
    Login,
    /// RFC 7677.
    ScramSha256,
    /// RFC 7677, bound to the TLS connection (RFC 5802 §6).
    ScramSha256Plus,
    /// RFC 7628.
    OAuthBearer,
    /// Its predecessor, by Google.
    XOAuth2,
}

impl Mechanism {
    /// All there are, those that keep the password to themselves first.
    pub const ALL: [Self; 6] = [Self::ScramSha256Plus, Self::ScramSha256, Self::Plain, Self::Login, Self::OAuthBearer, Self::XOAuth2];

    /// As announced and asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
        }
    }

    /// By its name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }
}
