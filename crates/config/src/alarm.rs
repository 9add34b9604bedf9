//! `[alarm.NAME]` and `[heartbeat]`: how word of incidents leaves the relay.

use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use hyper::Uri;
use posthaste_channels::{Channel, Command, HeartbeatUrl, Mail, Ntfy, PagerDuty, SecretUrl, Severity, Way};
use posthaste_findings::Rule;
use posthaste_host::Roots;
use posthaste_mail::{Name, Secret, nearest};

use super::{
    environment::Environment,
    reader::{Item, Parsed, Table, fault},
    reference::joined,
    route::{self, Itself, next_hop},
    tls::roots,
    value::{duration, list, mail_address, number, one_of, one_or_more, some, string, text},
};

pub(super) fn read_all(t: &Table<'_>, environment: &Environment<'_>, itself: &Itself<'_>) -> BTreeMap<Name, Channel> {
    let name = |word: &str| Name::new(word).map_err(|error| error.to_string());
    t.entries(name, |t, word| t.entry(word, |t| read(t, environment, itself))).into_iter().collect()
}

/// None after an error.
fn read(t: &Table<'_>, environment: &Environment<'_>, itself: &Itself<'_>) -> Option<Channel> {
    let kind = t.need("kind", one_of(&KINDS));
    let severity = t.given("severity", one_of(&[("warn", Severity::Warn), ("critical", Severity::Critical)]));
    let rules = t.given("rules", list(rule)).unwrap_or_default();
    let per_hour = t.given("per_hour", number(1..=1000)).and_then(NonZeroU32::new).unwrap_or(PER_HOUR);
    let timeout = t.given("timeout", duration(Duration::from_secs(1)..=Duration::from_secs(300)));
    let roots = t.given("roots", |item| roots(item, environment)).unwrap_or(Roots::System);
    let way = way(t, kind, environment, itself);
    let timeout = timeout.unwrap_or(if kind == Some(Kind::Mail) { MAIL_TIMEOUT } else { TIMEOUT });
    Some(Channel { way: way?, rules, severity: severity.unwrap_or(Severity::Warn), per_hour, timeout, roots })
}

fn way(t: &Table<'_>, kind: Option<Kind>, environment: &Environment<'_>, itself: &Itself<'_>) -> Option<Way> {
    let header = |item: Item<'_>| header_value(environment.secret(item)?, item);
    let (plain, filed) = (t.given("url", url), t.given("url_file", |item| filed_url(item, environment)));
    let authorization = t.given("authorization_file", header);
    let token = t.given("token_file", header);
    let (warn, critical) = (t.given("priority_warn", number(1..=5_u8)), t.given("priority_critical", number(1..=5_u8)));
    let routing_key = t.given("routing_key_file", |item| environment.secret(item));
    let command = t.given("command", command);
    let (from, to) = (t.given("from", mail_address), t.given("to", one_or_more(mail_address)));
    let server = t.given("server", |item| server(item, environment, itself));
    let auth = route::login(t, environment);
    let kind = kind?;
    suits(t, kind)?;
    let url = plain.or(filed);
    Some(match kind {
        Kind::Webhook => Way::Webhook { url: url?, authorization },
        Kind::Slack => Way::Slack(url?),
        Kind::Teams => Way::Teams(url?),
        Kind::Discord => Way::Discord(url?),
        Kind::Ntfy => {
            let Some((server, topic)) = topic(&url?) else {
                t.object_to(&["url", "url_file"], "no topic: give the address of the topic, such as \"https://ntfy.sh/TOPIC\"");
                return None;
            };
            Way::Ntfy(Ntfy { server, topic, token, warn: warn.unwrap_or(3), critical: critical.unwrap_or(5) })
        }
        Kind::PagerDuty => {
            Way::PagerDuty(PagerDuty { url: url.or_else(|| SecretUrl::new(Uri::from_static(PAGERDUTY)))?, routing_key: routing_key? })
        }
        Kind::Command => Way::Command(command?),
        Kind::Mail => Way::Mail(Mail { from: from?, to: to?, server: server?, auth }),
    })
}

/// Objects to keys that are missing, or that this kind does not have. None: some are.
fn suits(t: &Table<'_>, kind: Kind) -> Option<()> {
    let word = KINDS.iter().find(|(_, other)| *other == kind).map_or("", |(word, _)| word);
    let (needs, may): (&[&str], &[&str]) = match kind {
        Kind::Webhook => (&["url"], &["authorization_file"]),
        Kind::Slack | Kind::Teams | Kind::Discord => (&["url"], &[]),
        Kind::Ntfy => (&["url"], &["token_file", "priority_warn", "priority_critical"]),
        Kind::PagerDuty => (&["routing_key_file"], &["url"]),
        Kind::Command => (&["command"], &[]),
        Kind::Mail => (&["from", "to", "server"], &["user", "password_file"]),
    };
    let has_url = [needs, may].concat().contains(&"url");
    let given = |key: &str| t.has(key) || (key == "url" && t.has("url_file"));
    let missing: Vec<_> = needs.iter().filter(|key| !given(key)).collect();
    for key in &missing {
        let or = if **key == "url" { " (or url_file)" } else { "" };
        t.object(key, format!("missing: a channel of kind {word:?} needs {key}{or}"));
    }
    let has = |key: &&str| needs.contains(key) || may.contains(key) || (has_url && **key == *"url_file");
    for key in OF_KINDS.iter().filter(|key| t.has(key) && !has(key)) {
        t.object(key, format!("a channel of kind {word:?} has no such key"));
    }
    if t.has("url") && t.has("url_file") && has_url {
        t.object("url_file", "url gives the address already: leave out one of them");
    }
    missing.is_empty().then_some(())
}

/// None if no URL is given: then nothing is called.
pub(super) fn heartbeat(t: &Table<'_>, environment: &Environment<'_>) -> Option<HeartbeatUrl> {
    let url = t.given("url", url);
    let seconds = Duration::from_secs;
    let every = t.get("every", duration(seconds(10)..=seconds(3600)));
    let timeout = t.get("timeout", duration(seconds(1)..=seconds(60)));
    let roots = t.get("roots", |item| roots(item, environment));
    Some(HeartbeatUrl { url: url?, every, timeout, roots })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Webhook,
    Slack,
    Teams,
    Discord,
    Ntfy,
    PagerDuty,
    Command,
    Mail,
}

const KINDS: [(&str, Kind); 8] = [
    ("webhook", Kind::Webhook),
    ("slack", Kind::Slack),
    ("teams", Kind::Teams),
    ("discord", Kind::Discord),
    ("ntfy", Kind::Ntfy),
    ("pagerduty", Kind::PagerDuty),
    ("command", Kind::Command),
    ("mail", Kind::Mail),
];
/// The keys that only some kinds have.
const OF_KINDS: [&str; 13] = [
    "url",
    "url_file",
    "authorization_file",
    "token_file",
    "priority_warn",
    "priority_critical",
    "routing_key_file",
    "command",
    "from",
    "to",
    "server",
    "user",
    "password_file",
];

/// The defaults of keys that each channel may have; the documentation says them.
const PER_HOUR: NonZeroU32 = NonZeroU32::new(30).expect("30 is not 0");
const TIMEOUT: Duration = Duration::from_secs(10);
/// Mail servers make strangers wait.
const MAIL_TIMEOUT: Duration = Duration::from_secs(60);
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";
/// RFC 6409.
const SUBMISSION: u16 = 587;

fn url(item: Item<'_>) -> Parsed<SecretUrl> {
    address(string(item)?).or_else(|why| fault(item, why))
}

fn filed_url(item: Item<'_>, environment: &Environment<'_>) -> Parsed<SecretUrl> {
    address(environment.secret(item)?.reveal()).or_else(|why| fault(item, format!("of its first line: {why}")))
}

fn address(text: &str) -> Result<SecretUrl, &'static str> {
    const WANTED: &str = "expected the address of a web service, such as \"https://hooks.example.com/x\"";
    let url: Uri = text.parse().map_err(|_| WANTED)?;
    // The part before an '@' would be a password, and a fragment cannot be requested.
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else { return Err(WANTED) };
    if authority.as_str().contains('@') || text.contains('#') {
        return Err(WANTED);
    }
    match scheme {
        "http" if !is_near(authority.host()) => {
            Err("anybody on the network path could read it: use https:// (http:// is for this machine and for private addresses)")
        }
        "http" | "https" => SecretUrl::new(url).ok_or(WANTED),
        _ => Err(WANTED),
    }
}

/// Whether a host is this machine, or an address of a private network (RFC 1918, RFC 4193).
fn is_near(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}

/// The server and the topic that a topic's URL names.
fn topic(url: &SecretUrl) -> Option<(SecretUrl, Secret)> {
    let text = url.reveal().to_string();
    let (server, topic) = text.split('?').next()?.rsplit_once('/')?;
    let is_topic = !topic.is_empty() && topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let server = SecretUrl::new(format!("{server}/").parse().ok()?).filter(|_| is_topic && !server.ends_with('/'))?;
    Some((server, Secret::new(topic)))
}

fn header_value(secret: Secret, item: Item<'_>) -> Parsed<Secret> {
    if secret.reveal().bytes().all(|b| (32..127).contains(&b)) { Ok(secret) } else { fault(item, "its first line must be printable ASCII") }
}

/// The name of a rule. One that nobody has would keep the channel silent.
fn rule(item: Item<'_>) -> Parsed<String> {
    let word = string(item)?;
    let names = || Rule::ALL.iter().map(|rule| rule.as_str());
    match (names().any(|name| name == word), nearest(word, names())) {
        (true, _) => Ok(word.to_owned()),
        (false, Some(near)) => fault(item, format!("no such rule; did you mean \"{near}\"?")),
        (false, None) => fault(item, format!("no such rule; rules are: {}", joined(names()))),
    }
}

fn command(item: Item<'_>) -> Parsed<Command> {
    let mut words = some(text)(item)?;
    if words.iter().any(|word| word.contains('\0')) {
        return fault(item, "an argument cannot contain a NUL");
    }
    let program = PathBuf::from(words.remove(0));
    if !program.is_absolute() {
        return fault(
            item,
            "the program needs an absolute path, such as [\"/usr/local/bin/alarm\", \"--node\", \"mx1\"]: no shell looks for it",
        );
    }
    Ok(Command { program, arguments: words })
}

/// A mail server that is not this relay.
pub(super) fn server(item: Item<'_>, environment: &Environment<'_>, itself: &Itself<'_>) -> Parsed<posthaste_mail::NextHop> {
    let hop = next_hop(item, SUBMISSION)?;
    if let Some(listener) = itself.met_at(&hop, environment) {
        return fault(item, format!("{hop} is {listener}: word of mail that is stuck would be stuck with it; name another server"));
    }
    if hop.port == 465 {
        return fault(item, "port 465 is TLS from the first byte, which is not supported: use the port for STARTTLS, usually 587");
    }
    Ok(hop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_near_hosts_alone() {
        for good in
            ["https://x.example/a?b=c", "http://127.0.0.1:1/", "http://[::1]/", "http://192.168.1.5:3001/api/push/x", "http://[fd00::1]/"]
        {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in ["http://x.example/", "http://8.8.8.8/", "ftp://x/", "/x", "", "https://u:p@x/", "https://x/#y", "https:///x"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_topic_is_the_last_part_of_its_address() {
        let split =
            |text: &str| topic(&address(text).unwrap()).map(|(server, topic)| (server.reveal().to_string(), topic.reveal().to_owned()));
        assert_eq!(split("https://ntfy.sh/my-alarms"), Some(("https://ntfy.sh/".into(), "my-alarms".into())));
        assert_eq!(split("https://h.example/ntfy/a_b?x=1"), Some(("https://h.example/ntfy/".into(), "a_b".into())));
        for none in ["https://ntfy.sh", "https://ntfy.sh/", "https://ntfy.sh/a/"] {
            assert_eq!(split(none), None, "{none}");
        }
    }
}
