//! How the relay logs in elsewhere.

use crate::Secret;

/// A user at a smart host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password, as read from `password_file`, without the line end.
    pub password: Secret,
}
