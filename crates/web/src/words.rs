//! Numbers, shares, times and strangers' words, as people read them.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use maud::{Markup, Render, html};
use posthaste_mail::Foreign;

/// Below so many a share is told as "n of m", never as a percentage.
const SHARE_MIN: u64 = 100;

/// A number with a comma at each thousand.
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number for a narrow column: `1,234`, `56 k`, `7.8 M`.
pub(crate) fn short(n: u64) -> String {
    match n {
        0..10_000 => number(n),
        10_000..1_000_000 => format!("{} k", n / 1_000),
        _ => format!("{}.{} M", number(n / 1_000_000), n / 100_000 % 10),
    }
}

/// A share with its denominator: `97.2 % of 1,234`, or `3 of 7` where there are too few for a percentage.
pub(crate) fn share(n: u64, of: u64) -> String {
    match percent(n, of) {
        Some(percent) => format!("{percent} of {}", number(of)),
        None => few(n, of),
    }
}

/// A share for a table whose column says of what it is one: `97.2 %`, or `3 of 7`.
pub(crate) fn rate(n: u64, of: u64) -> String {
    percent(n, of).unwrap_or_else(|| few(n, of))
}

fn few(n: u64, of: u64) -> String {
    match of {
        0 if n == 0 => "–".into(),
        // What came back in a time may be about mail of before: it is no share.
        _ if n > of => number(n),
        _ => format!("{} of {}", number(n), number(of)),
    }
}

/// `97.2 %`; None: there are too few.
fn percent(n: u64, of: u64) -> Option<String> {
    if of < SHARE_MIN || n > of {
        return None;
    }
    let percent = n as f64 / of as f64 * 100.0;
    // What is not all is not 100 %, and what is something is not 0 %.
    Some(match percent {
        _ if n == of => "100 %".into(),
        _ if n == 0 => "0 %".into(),
        p if p > 99.9 => ">99.9 %".into(),
        p if p < 0.1 => "<0.1 %".into(),
        p => format!("{p:.1} %"),
    })
}

/// "1 message", "2 messages".
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

/// A duration in its largest units: `45 s`, `12 min`, `3 h 20 min`, `5 d 4 h`.
pub(crate) fn lasting(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let two = |large: i64, unit: &str, small: i64, less: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {less}"),
    };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// Milliseconds as [`lasting`], with tenths where they say something.
pub(crate) fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 60_000.0 => format!("{:.1} s", ms / 1_000.0),
        ms => lasting(SignedDuration::from_millis(ms as i64)),
    }
}

/// How long ago that was.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    lasting(now.duration_since(since))
}

/// Bytes: `512 B`, `34 KiB`, `5.6 GiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut value = n as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit > 0 && value < 10.0 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// A point in time, for people in the zone of the figures, and for machines.
pub(crate) struct At<'z> {
    pub(crate) time: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) zone: &'z TimeZone,
}

impl At<'_> {
    /// `14:02` today, else `28 Nov 14:02`, or with the year if it is another.
    pub(crate) fn text(&self) -> String {
        let (time, now) = (self.time.to_zoned_datetime(self.zone.clone()), self.now.to_zoned_datetime(self.zone.clone()));
        let form = match (time.date() == now.date(), time.year() == now.year()) {
            (true, _) => "%H:%M",
            (false, true) => "%-d %b %H:%M",
            (false, false) => "%-d %b %Y %H:%M",
        };
        time.strftime(form).to_string()
    }
}

impl Render for At<'_> {
    fn render(&self) -> Markup {
        let exact = self.time.to_zoned_datetime(self.zone.clone()).strftime("%F %T %Z").to_string();
        html! { time datetime=(self.time.to_string()) title=(exact) { (self.text()) } }
    }
}

/// Text that somebody else wrote, in one line.
pub(crate) fn foreign(text: &str) -> String {
    Foreign::new(text).to_string()
}

/// A sentence with commands between backquotes, as code.
pub(crate) fn sentence(text: &str) -> Markup {
    html! {
        @for (place, piece) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (foreign(piece)) } } @else { (foreign(piece)) }
        }
    }
}

/// An address with its local part hidden, for those who may not see people's addresses.
pub(crate) fn masked(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}…@{domain}", local.chars().next().map(String::from).unwrap_or_default()),
        None => "…".into(),
    }
}

/// Whose problem it is, as people say it.
pub(crate) fn whose(problem_of: &str) -> &str {
    match problem_of {
        "ours" => "ours to mend",
        "senders_list" => "the sender's list",
        "receiver" => "the receiver's problem",
        "dns" => "DNS",
        other => other,
    }
}

/// A provider's name with a capital; a domain stays as it is.
pub(crate) fn title(name: &str) -> String {
    let name = foreign(name);
    match name.chars().next() {
        Some(first) if !name.contains('.') => first.to_uppercase().chain(name.chars().skip(1)).collect(),
        _ => name,
    }
}

/// The provider that a key is about.
pub(crate) fn provider_of(key: &str) -> Option<&str> {
    match key.split_once(':')? {
        ("provider", provider) => Some(provider),
        ("lane" | "stream_provider", pair) => pair.rsplit_once('/').map(|(_, provider)| provider),
        _ => None,
    }
}

/// What an incident is about in a few words: the sentence behind it says more.
pub(crate) fn headline(rule: &str, key: &str) -> String {
    let (about, value) = key.split_once(':').unwrap_or((key, ""));
    let who = match about {
        "provider" => title(value),
        "relay" => "The relay".into(),
        _ => format!("{} {}", title(&about.replace('_', " ")), foreign(value)),
    };
    match rule {
        "provider_refuses" => format!("{who} refuses our mail"),
        "mail_stands" if about == "pool" => format!("{who} has no source left"),
        "mail_stands" if about == "relay" => "Mail to many domains stands: DNS gives no answer".into(),
        "mail_stands" => format!("Mail to {who} stands"),
        "late" => format!("{who} is late"),
        "complaints" => format!("{who}: too many complaints"),
        "unknown_users" => format!("{who}: too many unknown addresses"),
        "sender_leaps" => format!("{who} sends unlike ever before"),
        "silence" => format!("{who} is silent"),
        "lane" => format!("{who} is held back"),
        "authentication" => format!("{who}: mail leaves without a valid signature"),
        "tls" => format!("{who}: less mail under TLS"),
        "unknown_replies" => format!("{who}: replies that no rule knows"),
        "reports_unmatched" => "Complaint reports match no message".into(),
        "guard" => format!("The guard holds new mail of {}", foreign(key)),
        "house" => format!("The house: {}", foreign(value)),
        _ => format!("{who}: {}", rule.replace('_', " ")),
    }
}

/// Where an operator steers what an incident is about: its name and its page.
pub(crate) fn place(key: &str) -> Option<(String, String)> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    match key.split_once(':')? {
        ("lane", pair) => {
            let (source, provider) = pair.split_once('/')?;
            Some((format!("Lane {}", foreign(pair)), format!("/warmup/{}/{}", encoded(source), encoded(provider))))
        }
        ("provider", provider) => Some((format!("Queue of {}", foreign(provider)), format!("/queue?provider={}", encoded(provider)))),
        ("stream", stream) => Some((format!("Stream {}", foreign(stream)), format!("/streams/{}", encoded(stream)))),
        ("stream_provider", pair) => {
            let (stream, provider) = pair.rsplit_once('/')?;
            Some((format!("Queue of {}", foreign(pair)), format!("/queue?stream={}&provider={}", encoded(stream), encoded(provider))))
        }
        ("user" | "from_domain", _) => Some(("Senders".into(), "/senders".into())),
        ("source", source) => Some((format!("Source {}", foreign(source)), format!("/warmup?source={}", encoded(source)))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([9_999, 10_000, 999_999, 1_234_567].map(short), ["9,999", "10 k", "999 k", "1.2 M"]);
        assert_eq!([(1, 99), (0, 0), (0, 100), (100, 100)].map(|(n, of)| share(n, of)), ["1 of 99", "–", "0 % of 100", "100 % of 100"]);
        // More than all is no share: it came back about mail of before.
        assert_eq!([rate(300, 200), share(7, 5), rate(3, 0), rate(0, 0)], ["300", "7", "3", "–"]);
        assert_eq!([(99_999, 100_000), (1, 100_000), (972, 1_000)].map(|(n, of)| rate(n, of)), [">99.9 %", "<0.1 %", "97.2 %"]);
        assert_eq!(
            [0, 119, 120, 7_200, 12_000, 450_000].map(|s| lasting(SignedDuration::from_secs(s))),
            ["0 s", "119 s", "2 min", "2 h", "3 h 20 min", "5 d 5 h"]
        );
        assert_eq!([512, 34_816, 6_012_954_214].map(bytes), ["512 B", "34 KiB", "5.6 GiB"]);
        assert_eq!([12.3, 1_234.0, 150_000.0].map(milliseconds), ["12 ms", "1.2 s", "2 min"]);
    }

    #[test]
    fn a_time_says_its_day_if_that_is_not_today() {
        let at = |text: &str| At { time: text.parse().unwrap(), now: "2026-11-29T23:00:00Z".parse().unwrap(), zone: &TimeZone::UTC }.text();
        assert_eq!(
            ["2026-11-29T14:02:30Z", "2026-11-28T14:02:00Z", "2025-11-28T14:02:00Z"].map(at),
            ["14:02", "28 Nov 14:02", "28 Nov 2025 14:02"]
        );
    }

    #[test]
    fn a_masked_address_keeps_its_domain() {
        assert_eq!(["ann@example.com", "\"a@b\"@x.test", "nobody"].map(masked), ["a…@example.com", "\"…@x.test", "…"]);
    }
}
