//! PLAIN (RFC 4616) and LOGIN: name and password as they are.

use super::{Credentials, Exchange, Secret, Turn, prepare};

/// `authzid NUL authcid NUL passwd`, all UTF-8.
pub(super) fn plain(message: &[u8]) -> (Exchange, Turn) {
    let mut parts = message.split(|b| *b == 0).map(str::from_utf8);
    let (Some(Ok(authzid)), Some(Ok(user)), Some(Ok(password)), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return malformed("PLAIN is: nothing, NUL, user, NUL, password");
    };
    if user.is_empty() || password.is_empty() {
        return malformed("PLAIN has a user and a password");
    }
    // Nobody may act for somebody else.
    if !authzid.is_empty() && authzid != user {
        let user = prepare(user).into_owned();
        return (Exchange::Plain, Turn::Wrong { user });
    }
    ask(&prepare(user), password)
}

pub(super) fn login_name(message: &[u8]) -> (Exchange, Turn) {
    match str::from_utf8(message) {
        Ok(user) if !user.is_empty() && !user.contains('\0') => {
            (Exchange::LoginPassword { user: prepare(user).into_owned() }, Turn::Challenge(b"Password:".to_vec()))
        }
        _ => malformed("LOGIN has a user"),
    }
}

pub(super) fn login_password(user: &str, message: &[u8]) -> (Exchange, Turn) {
    match str::from_utf8(message) {
        Ok(password) if !password.is_empty() && !password.contains('\0') => ask(user, password),
        _ => malformed("LOGIN has a password"),
    }
}

fn ask(user: &str, password: &str) -> (Exchange, Turn) {
    let password = Secret::new(prepare(password));
    (Exchange::Checking { user: user.to_owned() }, Turn::Ask(Credentials::Password { user: user.to_owned(), password }))
}

fn malformed(why: &'static str) -> (Exchange, Turn) {
    (Exchange::Plain, Turn::Malformed(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_three_parts_and_nobody_acts_for_another() {
        let asked = |message: &[u8]| match plain(message).1 {
            Turn::Ask(Credentials::Password { user, password }) => Some((user, password.reveal().to_owned())),
            _ => None,
        };
        let tim = Some(("tim".to_owned(), "tanstaaf".to_owned()));
        assert_eq!(asked(b"\0tim\0tanstaaf"), tim);
        assert_eq!(asked(b"tim\0tim\0tanstaaf"), tim);
        assert_eq!(asked("\0I\u{ad}X\0p\u{a0}w".as_bytes()), Some(("IX".into(), "p w".into())), "RFC 4013's examples");
        assert_eq!(plain(b"root\0tim\0tanstaaf").1, Turn::Wrong { user: "tim".into() });
        for bad in [&b""[..], b"tim", b"tim\0pw", b"\0tim\0", b"\0\0pw", b"\0tim\0pw\0", b"\0t\xff\0pw"] {
            assert!(matches!(plain(bad).1, Turn::Malformed(_)), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let (_, turn) = plain(b"\0tim\0tanstaaf");
        assert!(!format!("{turn:?}").contains("tanstaaf"));
    }
}
