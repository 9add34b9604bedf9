//! Why nobody is logged in.

/// Why nobody is logged in.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The provider cannot be asked, or answers with nonsense.
    #[error("{0}")]
    Provider(String),
    /// The provider does not take the relay for its client.
    #[error("it does not accept the relay's client_id or client_secret_file: {0}")]
    Client(String),
    /// The provider does not know the code.
    #[error("it does not take the code: {0}")]
    Code(String),
    /// What the provider says of somebody proves nothing.
    #[error("its token proves nothing: {0}")]
    Token(String),
    /// Somebody is known, and may not open the page.
    #[error("the claim holds no value that gives a role")]
    NoRole {
        /// As whom the provider knows the person.
        name: String,
        /// What the claim for roles holds.
        holds: Vec<String>,
    },
    /// Too many logins are being finished.
    #[error("too many logins are being checked")]
    Busy,
}
