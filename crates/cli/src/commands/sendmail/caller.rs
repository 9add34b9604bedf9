//! Who calls.

use posthaste_mail::{Address, Domain};

/// The calling user, as a mail address at `origin`: the name that /etc/passwd has for the user's number. Cron and PHP-FPM set no LOGNAME, and
/// what they set may be wrong.
pub(super) fn caller(origin: &Domain) -> Address {
    let uid = uid();
    let passwd = posthaste_host::files::read_text("/etc/passwd".as_ref()).unwrap_or_default();
    let said = || ["LOGNAME", "USER"].iter().find_map(|v| std::env::var(v).ok()).filter(|name| !name.is_empty());
    let name = named(&passwd, uid).map(str::to_owned).or_else(said).unwrap_or_else(|| format!("uid{uid}"));
    Address::international(&format!("{name}@{origin}"))
        .or_else(|_| Address::new(&format!("uid{uid}@{origin}")))
        .expect("a number is a name")
}

/// The number of the calling user.
pub(super) fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// The first name with this number.
fn named(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid) && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_name_is_that_of_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/bin/false\ntoor:x:0:0::/:/bin/sh\nbroken\n";
        assert_eq!([named(passwd, 0), named(passwd, 33), named(passwd, 5)], [Some("root"), Some("www-data"), None]);
    }
}
