//! PLAIN (RFC 4616) and LOGIN: name and password in clear.

use posthaste_mail::Secret;

use super::{Credentials, Turn, prepare};

/// `authzid NUL authcid NUL passwd`, all UTF-8.
pub(super) fn plain(message: &[u8]) -> Turn {
    let mut parts = message.split(|b| *b == 0).map(str::from_utf8);
    let (Some(Ok(authzid)), Some(Ok(user)), Some(Ok(password)), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Turn::Malformed("PLAIN is: nothing, NUL, user, NUL, password");
    };
    if user.is_empty() || password.is_empty() {
        return Turn::Malformed("PLAIN has a user and a password");
    }
    // No user may act as another.
    if !authzid.is_empty() && authzid != user {
        let user = prepare(user).into_owned();
        return Turn::Wrong { user };
    }
    ask(&prepare(user), password)
}

/// The user name; Err if the message holds none.
pub(super) fn login_name(message: &[u8]) -> Result<String, Turn> {
    match str::from_utf8(message) {
        Ok(user) if !user.is_empty() && !user.contains('\0') => Ok(prepare(user).into_owned()),
        _ => Err(Turn::Malformed("LOGIN has a user")),
    }
}

pub(super) fn login_password(user: &str, message: &[u8]) -> Turn {
    match str::from_utf8(message) {
        Ok(password) if !password.is_empty() && !password.contains('\0') => ask(user, password),
        _ => Turn::Malformed("LOGIN has a password"),
    }
}

fn ask(user: &str, password: &str) -> Turn {
    Turn::Ask(Credentials::Password { user: user.to_owned(), password: Secret::new(prepare(password)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_three_parts_and_nobody_acts_for_another() {
        let asked = |message: &[u8]| match plain(message) {
            Turn::Ask(Credentials::Password { user, password }) => Some((user, password.reveal().to_owned())),
            _ => None,
        };
        let tim = Some(("tim".to_owned(), "tanstaaf".to_owned()));
        assert_eq!(asked(b"\0tim\0tanstaaf"), tim);
        assert_eq!(asked(b"tim\0tim\0tanstaaf"), tim);
        assert_eq!(asked("\0I\u{ad}X\0p\u{a0}w".as_bytes()), Some(("IX".into(), "p w".into())), "RFC 4013's examples");
        assert_eq!(plain(b"root\0tim\0tanstaaf"), Turn::Wrong { user: "tim".into() });
        for bad in [&b""[..], b"tim", b"tim\0pw", b"\0tim\0", b"\0\0pw", b"\0tim\0pw\0", b"\0t\xff\0pw"] {
            assert!(matches!(plain(bad), Turn::Malformed(_)), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let turn = plain(b"\0tim\0tanstaaf");
        assert!(!format!("{turn:?}").contains("tanstaaf"));
    }
}
