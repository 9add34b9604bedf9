//! What reads well in a configuration, and yet is hardly meant.

use ipnet::IpNet;
use posthaste_config::{Config, bounce_domain_of};
use posthaste_mail::{Domain, Name};
use posthaste_submission::{AuthWhere, ListenTlsMode, Listener, Role};

/// More public IPv4 addresses than this in `allow` are nobody's own network: four times the largest that anybody owns (a /8).
const OWN_IPV4: u64 = 4 << 24;
/// A public IPv6 network with a shorter prefix is nobody's own.
const OWN_IPV6: u8 = 16;
/// Names under these lead nowhere outside (RFC 6761, RFC 6762, ICANN's reservation of .internal, and what routers make up).
const NOWHERE: [&str; 7] = ["localhost", "localdomain", "local", "lan", "home", "internal", "invalid"];

/// Warnings about values that read well and are hardly meant; for people, one line each. `users_are_known`: the file of users is the one of the
/// host that the configuration is for.
pub fn doubts(config: &Config, users_are_known: bool) -> Vec<String> {
    let mut doubts = Vec::new();
    for (name, listener) in config.listeners.iter().filter(|(_, listener)| listener.role == Role::Submission) {
        if is_open(listener) {
            doubts.push(format!(
                "listen.{name} is an open relay: `allow` lets nearly everybody send without a login, and strangers will find it within hours; \
                 list your own networks in allow, and let all others log in (`posthaste user add`)"
            ));
        }
        if is_wide(&listener.proxy_from) {
            doubts.push(format!(
                "listen.{name} is an open relay: by `proxy_from` nearly everybody may say which address a client has, and so pass for one of \
                 allow; list the addresses of your load balancers alone"
            ));
        }
        doubts.extend(out_of_reach(name, listener));
        doubts.extend(nobody(config, listener, users_are_known).map(|why| format!("nobody can send by listen.{name}: {why}")));
    }
    let by_http = !config.http.addresses.is_empty() && (!users_are_known || config.users.values().any(|user| !user.tokens.is_empty()));
    if !by_http && config.listeners.values().all(|listener| listener.role != Role::Submission) {
        let http = if config.http.addresses.is_empty() { "there is no HTTP API" } else { "no user has a token for the HTTP API" };
        doubts.push(format!("nobody can send: no listener has role = \"submission\", and {http}"));
    }
    let mut names = vec![(&config.hostname, "hostname".to_owned())];
    names.extend(config.sources.iter().map(|(name, source)| (&source.ehlo, format!("source.{name}.ehlo"))));
    names.dedup_by(|later, first| later.0 == first.0);
    doubts.extend(names.into_iter().filter_map(|(name, key)| Some(format!("{key} is {:?}, {}", name.as_str(), no_host_name(name)?))));
    let bouncing = config.streams.values().find_map(|stream| bounce_domain_of(&config.returns, stream));
    let receives = config.listeners.values().any(|listener| listener.role == Role::Returns) || !config.returns.mailboxes.is_empty();
    if let Some(domain) = bouncing.filter(|_| !receives) {
        doubts.push(format!(
            "bounces go to {domain}, and nothing here receives them: add a listener with role = \"returns\", to which the MX of {domain} leads, or a \
             mailbox, [returns.mailbox.NAME]"
        ));
    }
    doubts
}

/// Warns of a relay that works as root.
pub fn as_root(config: &Config) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let owned_by_root = std::fs::metadata(&config.data_dir).map_or(true, |meta| meta.uid() == 0);
    (rustix::process::geteuid().is_root() && owned_by_root).then(|| {
        let dir = config.data_dir.display();
        let give = match config.data_dir.exists() {
            true => format!("give the folder to a user of its own (chown -R posthaste: {dir})"),
            false => format!("make the folder for a user of its own (install -d -o posthaste -g posthaste {dir})"),
        };
        format!(
            "a relay that root starts on {dir} works as root, which it never needs: {give}, and it takes that user's rights; \
             deploy/systemd/posthaste.service does so"
        )
    })
}

/// Whether nearly everybody may send here without a login.
fn is_open(listener: &Listener) -> bool {
    let in_reach = listener.addresses.iter().any(|address| !address.ip().is_loopback()) || !listener.proxy_from.is_empty();
    in_reach && !listener.require_auth && is_wide(&listener.allow)
}

/// A listener and its networks that do not fit together.
fn out_of_reach(name: &Name, listener: &Listener) -> Option<String> {
    let loopback = |net: &IpNet| net.network().is_loopback();
    let here = listener.addresses.iter().all(|address| address.ip().is_loopback());
    if here && listener.proxy_from.is_empty() {
        let others: Vec<String> = listener.allow.iter().filter(|net| !loopback(net)).map(ToString::to_string).collect();
        return (!others.is_empty()).then(|| {
            format!(
                "listen.{name} listens on loopback alone, so nobody in {} can reach it: set address to one of this host's, or take them out of allow",
                others.join(", ")
            )
        });
    }
    let has_tls = listener.tls.mode != ListenTlsMode::None;
    let takes_logins = match listener.auth {
        AuthWhere::Always => true,
        AuthWhere::Tls => has_tls,
        AuthWhere::Off => has_tls && listener.tls.client_ca.is_some(),
    };
    let alone = !listener.allow.is_empty() && listener.allow.iter().all(loopback);
    (!here && listener.proxy_from.is_empty() && alone && !takes_logins).then(|| {
        format!(
            "listen.{name} listens for other hosts, and none of them can send: allow has loopback alone, and no login is offered; add their networks \
             to allow, set tls = \"starttls\" so that users can log in, or listen on 127.0.0.1"
        )
    })
}

/// Whether these networks hold nearly everybody.
fn is_wide(networks: &[IpNet]) -> bool {
    let public = IpNet::aggregate(&networks.to_vec()).into_iter().filter(|net| !is_private(net));
    let (mut ipv4, mut ipv6) = (0, false);
    for net in public {
        match net {
            IpNet::V4(net) => ipv4 += 1_u64 << (32 - net.prefix_len()),
            IpNet::V6(net) => ipv6 |= net.prefix_len() < OWN_IPV6,
        }
    }
    ipv4 > OWN_IPV4 || ipv6
}

/// Networks whose addresses nobody has on the Internet (RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291).
fn is_private(net: &IpNet) -> bool {
    let within = |text: &str| text.parse::<IpNet>().is_ok_and(|private| private.contains(net));
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "fc00::/7", "fe80::/10", "::1/128"]
        .into_iter()
        .any(within)
}

/// Why nobody can send by this listener; None: somebody can.
fn nobody(config: &Config, listener: &Listener, users_are_known: bool) -> Option<String> {
    if !listener.allow.is_empty() && !listener.require_auth {
        return None;
    }
    let networks = if listener.allow.is_empty() { "allow is empty" } else { "require_auth is true" };
    let has_tls = listener.tls.mode != ListenTlsMode::None;
    let certificates = listener.tls.client_ca.is_some() && has_tls;
    let offered = match listener.auth {
        AuthWhere::Always => true,
        AuthWhere::Tls => has_tls,
        AuthWhere::Off => false,
    };
    if !offered && !certificates {
        return Some(format!(
            "{networks}, and no login is offered: name networks in allow, or set tls = \"starttls\" so that users can log in"
        ));
    }
    let users = || config.users.values();
    let by_certificate = certificates && users().any(|user| !user.certificates.is_empty());
    let by_login = offered && (config.introspection.is_some() || users().any(|user| user.password.is_some() || !user.tokens.is_empty()));
    (users_are_known && !by_certificate && !by_login)
        .then(|| format!("{networks}, and there is no user who could log in: `posthaste user add NAME` adds one"))
}

/// Why receivers will not take this for the name of a host; None: they may.
fn no_host_name(name: &Domain) -> Option<String> {
    let text = name.as_str();
    let remedy = "set it to a name that resolves to the address that mail is sent from, and to which that address resolves back";
    if name.literal().is_some() {
        return Some(format!("an address: many receivers refuse an EHLO without a name; {remedy}"));
    }
    if text.contains('_') {
        return Some(format!("and no name of a host holds an underscore (RFC 952): many receivers refuse such an EHLO; {remedy}"));
    }
    if NOWHERE.iter().any(|top| text == *top || text.strip_suffix(top).is_some_and(|rest| rest.ends_with('.'))) {
        return Some(format!("which leads nowhere outside this network: many receivers refuse such an EHLO; {remedy}"));
    }
    if text.rsplit('.').next().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit())) {
        return Some(format!("and no top-level domain is a number (RFC 3696 §2): many receivers refuse such an EHLO; {remedy}"));
    }
    (!text.contains('.')).then(|| format!("a name without a domain: most receivers refuse such an EHLO; {remedy}"))
}

#[cfg(test)]
mod tests {
    use posthaste_host::AnyAddress;

    use super::*;

    fn of(text: &str) -> Vec<String> {
        let text = format!("hostname = \"mx1.example.com\"\n{text}");
        doubts(&Config::parse(&text, "posthaste.toml", &AnyAddress).unwrap_or_else(|errors| panic!("{errors}")), true)
    }

    fn about(text: &str, words: &str) -> bool {
        let told = of(text);
        told.iter().any(|told| told.contains(words))
    }

    #[test]
    fn an_open_relay_is_told_however_it_is_written() {
        let allow = |address: &str, allow: &str| about(&format!("[listen.app]\naddress = {address:?}\nallow = [{allow}]\n"), "open relay");
        for networks in ["\"0.0.0.0/0\", \"::/0\"", "\"0.0.0.0/1\", \"128.0.0.0/1\"", "\"::/0\"", "\"2000::/3\"", "\"64.0.0.0/2\""] {
            assert!(allow("0.0.0.0:2525", networks), "{networks}");
        }
        assert!(!allow("127.0.0.1:2525", "\"0.0.0.0/0\""), "nobody else reaches it");
        for networks in ["\"10.0.0.0/8\", \"192.168.0.0/16\", \"172.16.0.0/12\"", "\"fc00::/7\"", "\"192.0.2.0/24\"", "\"2001:db8::/32\""] {
            assert!(!allow("0.0.0.0:2525", networks), "{networks}");
        }
        assert!(about("[listen.app]\naddress = \"0.0.0.0:2525\"\nproxy_from = [\"0.0.0.0/0\"]\n", "proxy_from"));
        let users = "[listen.app]\naddress = \"0.0.0.0:2525\"\nallow = [\"0.0.0.0/0\"]\nrequire_auth = true\ntls = \"starttls\"\n";
        assert!(!about(users, "open relay"));
    }

    #[test]
    fn a_listener_by_which_nobody_can_send_is_told_with_what_is_missing() {
        let listen = |more: &str| format!("[listen.app]\naddress = \"0.0.0.0:2525\"\n{more}");
        assert!(about(&listen("allow = []\n"), "no login is offered"));
        assert!(about(&listen("allow = []\ntls = \"starttls\"\n"), "there is no user"));
        assert!(about(&listen("require_auth = true\ntls = \"starttls\"\n"), "there is no user"));
        assert!(!about(&listen("allow = [\"192.0.2.0/24\"]\n"), "nobody can send"));
        let token = format!("[user.app]\ntokens = [\"sha256:{}\"]\n", "ab".repeat(32));
        assert!(!about(&(listen("allow = []\ntls = \"starttls\"\n") + &token), "nobody can send"));
    }

    #[test]
    fn networks_that_cannot_reach_a_listener_are_told_and_so_is_a_listener_for_nobody() {
        let told = |address: &str, more: &str, words: &str| about(&format!("[listen.app]\naddress = {address:?}\n{more}\n"), words);
        assert!(told("127.0.0.1:2525", "allow = [\"127.0.0.0/8\", \"10.0.0.0/8\"]", "nobody in 10.0.0.0/8 can reach it"));
        assert!(told("127.0.0.1:2525", "allow = [\"0.0.0.0/0\"]", "can reach it"));
        assert!(!told("127.0.0.1:2525", "allow = [\"127.0.0.0/8\", \"::1/128\"]", "can reach it"));
        assert!(
            !told("127.0.0.1:2525", "allow = [\"10.0.0.0/8\"]\nproxy_from = [\"127.0.0.1/32\"]", "can reach it"),
            "a proxy says who it is"
        );
        assert!(told("0.0.0.0:2525", "allow = [\"127.0.0.0/8\"]", "none of them can send"));
        assert!(!told("0.0.0.0:2525", "allow = [\"127.0.0.0/8\"]\ntls = \"starttls\"", "none of them can send"));
        assert!(!told("0.0.0.0:2525", "allow = [\"10.0.0.0/8\"]", "none of them can send"));
    }

    #[test]
    fn a_host_name_that_is_none_is_told() {
        let told = |name: &str| doubts(&Config::parse(&format!("hostname = {name:?}\n"), "f", &AnyAddress).unwrap(), true);
        for name in ["mx1", "localhost", "mail.localdomain", "box.local", "[192.0.2.1]", "my_host.example.com", "1.2.3", "7"] {
            assert!(told(name).iter().any(|told| told.starts_with("hostname is") && told.contains("EHLO")), "{name}: {:?}", told(name));
        }
        assert_eq!(told("mx1.example.com"), Vec::<String>::new());
        assert!(about("[source.ip1]\naddress = \"192.0.2.1\"\nehlo = \"out1\"\n", "source.ip1.ehlo is \"out1\""));
    }

    #[test]
    fn bounces_that_nobody_receives_are_told() {
        assert!(about("[returns]\ndomain = \"bounce.example.com\"\n", "nothing here receives them"));
        let listener = "[returns]\ndomain = \"bounce.example.com\"\n[listen.returns]\naddress = \"0.0.0.0:25\"\nrole = \"returns\"\n";
        assert!(!about(listener, "nothing here receives them"));
        assert!(about(listener, "nobody can send: no listener"));
    }
}
