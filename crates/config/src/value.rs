//! Parsers of single values: times, sizes, numbers, addresses, words, lists.

use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use jiff::{Span, SpanRelativeTo};
use posthaste_mail::{Address, Domain};
use toml::de::DeValue;

use super::document::{Item, Parsed, a, fault};

/// 1024 bytes.
pub(super) const KIB: u64 = 1024;
/// 1024 KiB.
pub(super) const MIB: u64 = 1024 * KIB;
/// 1024 MiB.
pub(super) const GIB: u64 = 1024 * MIB;
/// 1024 GiB.
pub(super) const TIB: u64 = 1024 * GIB;

/// `true` or `false`.
pub(super) fn boolean(item: Item<'_>) -> Parsed<bool> {
    item.get_ref().as_bool().map_or_else(|| expected(item, "true or false"), Ok)
}

/// Any text.
pub(super) fn text(item: Item<'_>) -> Parsed<String> {
    string(item).map(str::to_owned)
}

/// A path that is not empty.
pub(super) fn path(item: Item<'_>) -> Parsed<PathBuf> {
    match string(item)? {
        "" => fault(item, "must not be empty"),
        text if text.contains('\0') => fault(item, "a path cannot contain a NUL"),
        text => Ok(text.into()),
    }
}

/// Printable ASCII of at most `max` bytes, for use in one line of the protocol.
pub(super) fn line(max: usize) -> impl Fn(Item<'_>) -> Parsed<String> {
    move |item| match string(item)? {
        text if text.len() > max => fault(item, format!("too long: at most {max} bytes")),
        text if !text.bytes().all(|b| (32..127).contains(&b)) => fault(item, "must be printable ASCII"),
        text => Ok(text.to_owned()),
    }
}

/// A type that parses itself from text.
pub(super) fn from_text<T: TryFrom<String, Error: Display>>(item: Item<'_>) -> Parsed<T> {
    T::try_from(text(item)?).or_else(|error| fault(item, error.to_string()))
}

/// A domain; an internationalised one becomes what DNS knows, its A-labels (UTS 46).
pub(super) fn domain(item: Item<'_>) -> Parsed<Domain> {
    Domain::international(string(item)?).or_else(|error| fault(item, error.to_string()))
}

/// An address that needs no SMTPUTF8; its domain may be internationalised.
pub(super) fn mail_address(item: Item<'_>) -> Parsed<Address> {
    match Address::international(string(item)?) {
        Ok(address) if !address.is_ascii() => fault(item, "the part before the @ must be ASCII"),
        Ok(address) => Ok(address),
        Err(error) => fault(item, error.to_string()),
    }
}

/// One of a few words.
pub(super) fn one_of<'w, T: Copy>(words: &'w [(&'static str, T)]) -> impl Fn(Item<'_>) -> Parsed<T> + 'w {
    move |item| {
        let all = || words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        let Some(text) = item.get_ref().as_str() else { return expected(item, &format!("one of {}", all())) };
        words
            .iter()
            .find(|(word, _)| *word == text)
            .map_or_else(|| fault(item, format!("must be one of {}", all())), |(_, value)| Ok(*value))
    }
}

/// A whole number within `range`.
pub(super) fn number<T>(range: RangeInclusive<T>) -> impl Fn(Item<'_>) -> Parsed<T>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |item| {
        let Some(number) = integer(item) else { return expected(item, "a whole number") };
        match T::try_from(number).ok().filter(|n| range.contains(n)) {
            Some(number) => Ok(number),
            None => fault(item, format!("must be from {} to {}", range.start(), range.end())),
        }
    }
}

/// A fraction within `range`.
pub(super) fn fraction(range: RangeInclusive<f64>) -> impl Fn(Item<'_>) -> Parsed<f64> {
    move |item| {
        let number = match item.get_ref() {
            DeValue::Float(float) => float.as_str().replace('_', "").parse().ok(),
            _ => integer(item).map(|n| n as f64),
        };
        let Some(number) = number else { return expected(item, "a number such as 0.1") };
        if range.contains(&number) { Ok(number) } else { fault(item, format!("must be from {} to {}", range.start(), range.end())) }
    }
}

/// A limit that 0 turns off.
pub(super) fn zero_is_none<T>(parse: impl Fn(Item<'_>) -> Parsed<T>) -> impl Fn(Item<'_>) -> Parsed<Option<T>> {
    move |item| match integer(item) {
        Some(0) => Ok(None),
        _ => parse(item).map(Some).map_err(|mut faults| {
            faults.iter_mut().for_each(|f| f.message.push_str(", or 0 for none"));
            faults
        }),
    }
}

/// A time such as `"1h30m"` within `range`; a day has 24 hours.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(Item<'_>) -> Parsed<Duration> {
    move |item| {
        const EXAMPLES: &str = r#"a time with its unit, such as "250ms", "30s", "5m", "1h30m" or "5d""#;
        let DeValue::String(text) = item.get_ref() else { return expected(item, EXAMPLES) };
        let span = text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
        let Some(time) = span.ok().and_then(|span| Duration::try_from(span).ok()) else {
            return fault(item, format!("expected {EXAMPLES}"));
        };
        if range.contains(&time) {
            Ok(time)
        } else {
            fault(item, format!("must be from {} to {}", show_time(*range.start()), show_time(*range.end())))
        }
    }
}

/// A size such as `"50 MiB"`, or a number of bytes, within `range`.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(Item<'_>) -> Parsed<u64> {
    move |item| {
        let bytes = match item.get_ref() {
            DeValue::String(text) => parse_size(text),
            _ => integer(item).and_then(|n| u64::try_from(n).ok()),
        };
        let Some(bytes) = bytes else {
            return expected(item, r#"a size with its unit, such as "50 MiB" or "64 KiB", or a number of bytes"#);
        };
        if range.contains(&bytes) {
            Ok(bytes)
        } else {
            fault(item, format!("must be from {} to {}", show_size(*range.start()), show_size(*range.end())))
        }
    }
}

/// A list, each of its items read by `parse`.
pub(super) fn list<'p, T: 'p>(parse: impl Fn(Item<'_>) -> Parsed<T> + 'p) -> impl Fn(Item<'_>) -> Parsed<Vec<T>> + 'p {
    move |item| {
        let Some(array) = item.get_ref().as_array() else { return expected(item, "a list, [ … ]") };
        let (mut values, mut faults) = (Vec::new(), Vec::new());
        for item in array.iter() {
            match parse(item) {
                Ok(value) => values.push(value),
                Err(more) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(values) } else { Err(faults) }
    }
}

/// The items of a list that is not empty.
pub(super) fn items<'r>(item: Item<'r>) -> Parsed<Vec<Item<'r>>> {
    match item.get_ref().as_array() {
        Some(array) if array.is_empty() => fault(item, "must not be empty"),
        Some(array) => Ok(array.iter().collect()),
        None => expected(item, "a list, [ … ]"),
    }
}

/// A list that is not empty, each of whose items is read by `parse`.
pub(super) fn some<'p, T: 'p>(parse: impl Fn(Item<'_>) -> Parsed<T> + 'p) -> impl Fn(Item<'_>) -> Parsed<Vec<T>> + 'p {
    let parse = list(parse);
    move |item| match parse(item)? {
        values if values.is_empty() => fault(item, "must not be empty"),
        values => Ok(values),
    }
}

/// One value, or a list of them, which may be empty.
pub(super) fn one_or_list<'p, T: 'p>(parse: impl Fn(Item<'_>) -> Parsed<T> + Copy + 'p) -> impl Fn(Item<'_>) -> Parsed<Vec<T>> + 'p {
    let many = list(parse);
    move |item| if item.get_ref().is_array() { many(item) } else { parse(item).map(|value| vec![value]) }
}

/// One value, or a list of them.
pub(super) fn one_or_more<'p, T: 'p>(parse: impl Fn(Item<'_>) -> Parsed<T> + Copy + 'p) -> impl Fn(Item<'_>) -> Parsed<Vec<T>> + 'p {
    let many = some(parse);
    move |item| if item.get_ref().is_array() { many(item) } else { parse(item).map(|value| vec![value]) }
}

/// An address with a port, `"127.0.0.1:2525"`.
pub(super) fn socket_address(item: Item<'_>) -> Parsed<SocketAddr> {
    let text = string(item)?;
    text.parse().or_else(|_| fault(item, r#"expected an IP address with a port, such as "127.0.0.1:2525" or "[::1]:2525""#))
}

/// An address that one machine can have.
pub(super) fn unicast(item: Item<'_>) -> Parsed<IpAddr> {
    let text = string(item)?;
    match text.parse::<IpAddr>() {
        Ok(ip) if ip.is_multicast() || ip == IpAddr::from([255; 4]) => fault(item, "no host has a multicast or broadcast address"),
        Ok(ip) => Ok(ip),
        Err(_) => fault(item, r#"expected an IP address such as "192.0.2.1" or "2001:db8::1""#),
    }
}

/// The text of an item.
pub(super) fn string<'r>(item: Item<'r>) -> Parsed<&'r str> {
    item.get_ref().as_str().map_or_else(|| expected(item, "a text in quotes"), Ok)
}

/// A fault that says what was expected instead.
pub(super) fn expected<T>(item: Item<'_>, what: &str) -> Parsed<T> {
    match item.get_ref() {
        DeValue::String(_) => fault(item, format!("expected {what}")),
        other => fault(item, format!("expected {what}, found {}", a(other.type_str()))),
    }
}

fn integer(item: Item<'_>) -> Option<i64> {
    let DeValue::Integer(number) = item.get_ref() else { return None };
    // A number beyond 64 bits is out of every range here. It stays a number, so that the error states the range.
    Some(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].trim_start() {
        "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1000_u64.pow(2),
        "GB" => 1000_u64.pow(3),
        "TB" => 1000_u64.pow(4),
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        "TiB" => TIB,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

fn show_size(bytes: u64) -> String {
    let unit = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")]
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{} {name}", bytes / unit))
}

fn show_time(time: Duration) -> String {
    let seconds = time.as_secs();
    match time.subsec_millis() {
        0 if seconds == 0 => "0s".into(),
        0 => [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')]
            .into_iter()
            .find(|(unit, _)| seconds.is_multiple_of(*unit))
            .map_or_else(String::new, |(unit, name)| format!("{}{name}", seconds / unit)),
        _ => format!("{}ms", time.as_millis()),
    }
}
