//! Mailboxes and domains (RFC 5321 §4.1.2 and §4.5.3.1), checked when they are made.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};

/// The longest domain, in bytes (RFC 1035 §3.1 as text; RFC 5321 §4.5.3.1.2 says 255).
const DOMAIN_MAX: usize = 253;
/// The longest address, in bytes. RFC 5321 §4.5.3.1 has 254 as what everybody must take, and asks for more: rewritten senders (SRS), reply tokens
/// and X.500 addresses are longer. This many fit on a line of a header (RFC 5322 §2.1.1) with the name of their field.
const ADDRESS_MAX: usize = 900;

/// Why a text is not an address or a domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no '@', or nothing before or after it.
    #[error("an address is local-part@domain")]
    Shape,
    /// It is longer than a header or DNS can hold.
    #[error("too long: an address has at most {ADDRESS_MAX} bytes, a domain {DOMAIN_MAX}")]
    TooLong,
    /// The local part is neither a dot-string nor a quoted string.
    #[error("the local part holds a character that is not allowed there")]
    Local,
    /// It is a list of addresses.
    #[error("there is more than one address: each is given by itself")]
    Several,
    /// The domain is neither dot-separated letter-digit-hyphen labels nor an address literal.
    #[error("the domain is not a host name or an address literal such as [192.0.2.1]")]
    Domain,
    /// It is not ASCII, and SMTPUTF8 (RFC 6531) was not requested.
    #[error("only ASCII addresses are taken")]
    NotAscii,
}

/// A domain as DNS accepts it (in lower case, labels of letters, digits, hyphens and underscores), or an address literal in brackets.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Domain(Box<str>);

impl Domain {
    /// Checks a domain, puts it into lower case and drops one trailing dot.
    pub fn new(text: &str) -> Result<Self, AddressError> {
        check_domain(text).map(|d| Self(d.into()))
    }

    /// Like [`Self::new`], but accepts a domain in any alphabet and converts it to its form in DNS (RFC 5890).
    pub fn international(text: &str) -> Result<Self, AddressError> {
        check_international_domain(text).map(|d| Self(d.into()))
    }

    /// The domain without a trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The IP address of `[192.0.2.1]` or `[IPv6:2001:db8::1]`; `None` for a name.
    pub fn literal(&self) -> Option<std::net::IpAddr> {
        literal(&self.0)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl std::borrow::Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A mailbox, `local-part@domain`, that can be written between `<` and `>`. The domain is in lower case, the local part as given.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Address {
    text: Box<str>,
    at: u16,
}

impl Address {
    /// Checks `local-part@domain`, without angle brackets (RFC 5321 §4.1.2 Mailbox).
    pub fn new(text: &str) -> Result<Self, AddressError> {
        if !text.is_ascii() {
            return Err(AddressError::NotAscii);
        }
        Self::international(text)
    }

    /// Like [`Self::new`], but accepts UTF-8 (RFC 6531 §3.3). The domain becomes ASCII, so that only the local part may need SMTPUTF8.
    pub fn international(text: &str) -> Result<Self, AddressError> {
        let at = text.rfind('@').ok_or(AddressError::Shape)?;
        let (local, domain) = (&text[..at], &text[at + 1..]);
        if local.is_empty() || domain.is_empty() {
            return Err(AddressError::Shape);
        }
        if text.len() > ADDRESS_MAX {
            return Err(AddressError::TooLong);
        }
        if !is_dot_string(local) && !is_quoted_string(local) {
            let is_list = local.contains('@') && local.contains([',', ';', ' ']);
            return Err(if is_list { AddressError::Several } else { AddressError::Local });
        }
        let checked = check_international_domain(domain)?;
        if local.len() + 1 + checked.len() > ADDRESS_MAX {
            return Err(AddressError::TooLong);
        }
        let text = if *checked == *domain { text.into() } else { format!("{local}@{checked}").into() };
        Ok(Self { text, at: local.len() as u16 })
    }

    /// One form for all spellings of an address. RFC 5321 §2.4 leaves the meaning of the local part's case to the receiver, but none that
    /// matters tells `Max` from `max`: taking them for two would write again to somebody who complained, taking them for one costs nothing.
    /// For the same reason needless quotes go: `"max"@x` is `max@x` (RFC 5321 §4.1.2).
    pub fn folded(&self) -> String {
        let local = self.local();
        let bare = local.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
        let local =
            bare.filter(|l| !l.contains(['"', '\\', ' ', '@']) && Self::new(&format!("{l}@{}", self.domain())).is_ok()).unwrap_or(local);
        let mut folded = String::with_capacity(self.text.len());
        folded.push_str(local);
        folded.make_ascii_lowercase();
        folded.push('@');
        folded.push_str(self.domain());
        folded
    }

    /// Whether it can be sent to a host without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the '@', quotes included.
    pub fn local(&self) -> &str {
        &self.text[..usize::from(self.at)]
    }

    /// The part after the '@', in lower case.
    pub fn domain(&self) -> &str {
        &self.text[usize::from(self.at) + 1..]
    }

    /// The domain as a [`Domain`].
    pub fn to_domain(&self) -> Domain {
        Domain(self.domain().into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.text)
    }
}

macro_rules! text_conversions {
    ($name:ident, $parsed:path, $stored:path, $into:expr) => {
        impl FromStr for $name {
            type Err = AddressError;
            fn from_str(text: &str) -> Result<Self, AddressError> {
                $parsed(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = AddressError;
            fn try_from(text: String) -> Result<Self, AddressError> {
                $stored(&text)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                let into: fn($name) -> Box<str> = $into;
                into(value).into_string()
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}
text_conversions!(Domain, Domain::international, Domain::new, |d| d.0);
// Addresses accepted under SMTPUTF8 are read back from the spool.
text_conversions!(Address, Address::new, Address::international, |a| a.text);

fn check_domain(text: &str) -> Result<Cow<'_, str>, AddressError> {
    if !text.is_ascii() {
        return Err(AddressError::NotAscii);
    }
    if text.starts_with('[') {
        return literal(text).map(|_| text.to_ascii_lowercase().replace("[ipv6:", "[IPv6:").into()).ok_or(AddressError::Domain);
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.len() > DOMAIN_MAX {
        return Err(AddressError::TooLong);
    }
    if !text.split('.').all(is_label) {
        return Err(AddressError::Domain);
    }
    let is_lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    Ok(if is_lower { text.into() } else { text.to_ascii_lowercase().into() })
}

fn check_international_domain(text: &str) -> Result<Cow<'_, str>, AddressError> {
    if text.is_ascii() {
        return check_domain(text);
    }
    let ascii = idna::domain_to_ascii(text).map_err(|_| AddressError::Domain)?;
    check_domain(&ascii).map(|domain| domain.into_owned().into())
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

fn literal(text: &str) -> Option<std::net::IpAddr> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => inner[5..].parse::<std::net::Ipv6Addr>().ok().map(Into::into),
        _ => inner.parse::<std::net::Ipv4Addr>().ok().map(Into::into),
    }
}

/// RFC 5321 §4.1.2: Dot-string = Atom *("." Atom). Dots may stand anywhere: some providers handed out such mailboxes for years, and they cannot be
/// reached under another name.
fn is_dot_string(local: &str) -> bool {
    let atext = |c: char| {
        matches!(
            c,
            'a'..='z' | 'A'..='Z' | '0'..='9'
                | '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '/' | '=' | '?' | '^' | '_' | '`' | '{' | '|' | '}' | '~'
        ) || is_utf8_text(c)
    };
    !local.is_empty() && local.chars().all(|c| c == '.' || atext(c))
}

/// RFC 6531 §3.3: UTF8-non-ascii, without control characters, line separators and non-characters.
fn is_utf8_text(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{fffd}' | '\u{feff}')
}

/// RFC 5321 §4.1.2: Quoted-string, without control characters, so that no CR or LF ever reaches the wire.
fn is_quoted_string(local: &str) -> bool {
    let Some(inner) = local.strip_prefix('"').and_then(|l| l.strip_suffix('"')) else { return false };
    if local.len() < 2 {
        return false;
    }
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let fits = match c {
            '\\' => matches!(chars.next(), Some(' '..='~')),
            '"' => false,
            c => matches!(c, ' '..='~') || is_utf8_text(c),
        };
        if !fits {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_local_part_and_lowers_its_domain() {
        let a = Address::new("Max.M+tag@Example.ORG").unwrap();
        assert_eq!((a.local(), a.domain(), a.as_str()), ("Max.M+tag", "example.org", "Max.M+tag@example.org"));
    }

    #[test]
    fn quoted_local_parts_and_literals_are_addresses() {
        assert_eq!(Address::new("\"a@b c\"@x.org").unwrap().local(), "\"a@b c\"");
        assert_eq!(Address::new("a@[192.0.2.1]").unwrap().to_domain().literal(), Some("192.0.2.1".parse().unwrap()));
        assert!(Address::new("a@[IPv6:2001:db8::1]").unwrap().to_domain().literal().unwrap().is_ipv6());
    }

    #[test]
    fn addresses_that_exist_are_taken_as_they_are() {
        for local in [
            "ab..cd",
            "abc.",
            ".abc",
            "..",
            "SRS0=HHHH=TT=mail.customer.example=bounce+0123456789abcdef0123456789abcdef=user=gmail.com",
            "IMCEAEX-_O=X_OU=EXCHANGE+20ADMINISTRATIVE+20GROUP+20+28FYDIBOHF23SPDLT+29_CN=RECIPIENTS_CN=USER",
            &"a".repeat(894),
        ] {
            let address = Address::new(&format!("{local}@x.org")).unwrap();
            assert_eq!((address.local(), address.folded()), (local, format!("{}@x.org", local.to_ascii_lowercase())));
        }
        assert_eq!(Address::new("\"a..b\"@x.org").unwrap().folded(), "a..b@x.org");
    }

    #[test]
    fn what_could_smuggle_a_command_or_a_parameter_is_no_address() {
        for bad in [
            "a",
            "@x.org",
            "a@",
            "a@x.org\r\nRCPT TO:<b@y.org>",
            "a b@x.org",
            "a@x.org> NOTIFY=NEVER",
            "\"a\r\n\"@x.org",
            "\"a\"b\"@x.org",
            "\"@x.org",
            "a@x..org",
            "a@-x.org",
            "a@x.org-",
            "a@[300.1.1.1]",
            "a@x org",
            "ä@x.org",
            "a@ä.org",
            "a\0@x.org",
            "<a@x.org>",
        ] {
            assert!(Address::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Address::new(&format!("{}@x.org", "a".repeat(895))), Err(AddressError::TooLong));
        assert_eq!(Domain::new(&"a.".repeat(127)).map(|d| d.as_str().len()), Ok(253));
        assert!(Domain::new(&format!("{}a.b", "a.".repeat(126))).is_err());
    }

    #[test]
    fn an_international_address_keeps_its_local_part_and_gets_a_domain_of_ascii() {
        let a = Address::international("jürgen@Exämple.org").unwrap();
        assert_eq!((a.local(), a.domain(), a.is_ascii()), ("jürgen", "xn--exmple-cua.org", false));
        assert!(Address::international("ann@exämple.org").unwrap().is_ascii(), "only the local part needs SMTPUTF8");
        assert_eq!(Address::try_from(a.as_str().to_owned()), Ok(a));
        assert_eq!(Address::international("\"ü x\"@x.org").unwrap().local(), "\"ü x\"");
        for bad in ["ü\u{85}@x.org", "ü\r\n@x.org", "\"ü\"ü\"@x.org", "ü@\u{2028}.org", "\u{fffd}@x.org", "ü ü@x.org"] {
            assert!(Address::international(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Address::international(&format!("{}@x.org", "ü".repeat(450))), Err(AddressError::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn a_taken_address_is_printable_and_reads_back_the_same(text in "[ -~\r\n\t]{0,12}@[ -~]{0,12}") {
            if let Ok(a) = Address::new(&text) {
                proptest::prop_assert!(a.as_str().bytes().all(|b| (32..=126).contains(&b)));
                proptest::prop_assert_eq!(Address::new(a.as_str()).unwrap(), a);
            }
        }
    }
}
