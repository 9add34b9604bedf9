//! The values of a file of curves.

use std::{fmt::Display, num::NonZeroU32, str::FromStr};

use jiff::{SignedDuration, civil::Weekday, tz::TimeZone};
use toml::{Spanned, de::DeValue};

use crate::{curve::After, health::Share, plan::Overflow, window::Window};

pub(super) type Value<'t, 'i> = &'t Spanned<DeValue<'i>>;
pub(super) type Parsed<T> = Result<T, String>;

pub(super) fn caps(value: Value<'_, '_>) -> Parsed<Vec<u32>> {
    value.get_ref().as_array().ok_or("expected a list of numbers")?.iter().map(count).collect()
}

/// A whole number; it may contain underscores.
pub(super) fn count(value: Value<'_, '_>) -> Parsed<u32> {
    let number = value.get_ref().as_integer().and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
    number.ok_or_else(|| format!("expected a whole number from 0 to {}", u32::MAX))
}

pub(super) fn positive(value: Value<'_, '_>) -> Parsed<NonZeroU32> {
    NonZeroU32::new(count(value)?).ok_or_else(|| "expected at least 1".into())
}

pub(super) fn number(value: Value<'_, '_>) -> Parsed<f64> {
    let text = match value.get_ref() {
        DeValue::Integer(n) => n.as_str(),
        DeValue::Float(n) => n.as_str(),
        _ => return Err("expected a number".into()),
    };
    text.parse().map_err(|_| "expected a number".into())
}

/// `"3 %"` or `0.03`.
pub(super) fn share(value: Value<'_, '_>) -> Parsed<Share> {
    let form = || "expected a share: \"90 %\" or 0.9".to_owned();
    let number = match value.get_ref().as_str() {
        Some(text) => text.strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok()).ok_or_else(form)? / 100.0,
        None => number(value).map_err(|_| form())?,
    };
    Share::new(number).map_err(|error| error.to_string())
}

fn text<'t>(value: Value<'t, '_>) -> Parsed<&'t str> {
    value.get_ref().as_str().ok_or_else(|| "expected text in quotes".into())
}

pub(super) fn read<T: FromStr<Err: Display>>(value: Value<'_, '_>) -> Parsed<T> {
    text(value)?.parse().map_err(|error: T::Err| error.to_string())
}

pub(super) fn window(value: Value<'_, '_>) -> Parsed<Window> {
    read(value)
}

pub(super) fn zone(value: Value<'_, '_>) -> Parsed<TimeZone> {
    let name = text(value)?;
    TimeZone::get(name).map_err(|_| format!("no time zone {name:?} in this system's database; write it as \"Europe/Berlin\" or \"UTC\""))
}

/// `"30m"`, `"4h"`, `"2h 30m"`.
pub(super) fn duration(value: Value<'_, '_>) -> Parsed<SignedDuration> {
    let span: SignedDuration = text(value)?.parse().map_err(|_| "expected a time such as \"30m\" or \"4h\"".to_owned())?;
    if span.is_negative() || span.as_hours() > 24 * 400 { Err("expected a time from 0 to 400 days".into()) } else { Ok(span) }
}

/// `"30d"`.
pub(super) fn days(value: Value<'_, '_>) -> Parsed<NonZeroU32> {
    let days = text(value)?.strip_suffix('d').and_then(|days| days.trim().parse().ok());
    days.ok_or_else(|| "expected a number of days such as \"30d\"".into())
}

pub(super) fn days_off(value: Value<'_, '_>) -> Parsed<Vec<Weekday>> {
    let names = value.get_ref().as_array().ok_or("expected a list of weekdays")?;
    names.iter().map(|name| weekday(text(name)?)).collect()
}

fn weekday(name: &str) -> Parsed<Weekday> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "monday" => Weekday::Monday,
        "tuesday" => Weekday::Tuesday,
        "wednesday" => Weekday::Wednesday,
        "thursday" => Weekday::Thursday,
        "friday" => Weekday::Friday,
        "saturday" => Weekday::Saturday,
        "sunday" => Weekday::Sunday,
        _ => return Err(format!("{name:?} is not a day of the week")),
    })
}

pub(super) fn after(value: Value<'_, '_>) -> Parsed<After> {
    match text(value)? {
        "none" => Ok(After::NoCap),
        "last" => Ok(After::LastCap),
        other => Err(format!("{other:?} is neither \"none\" (no cap after the last stage) nor \"last\" (the last cap stays)")),
    }
}

pub(super) fn overflow(value: Value<'_, '_>) -> Parsed<Overflow> {
    match text(value)? {
        "defer" => Ok(Overflow::Defer),
        "spill" => Ok(Overflow::Spill),
        other => match other.strip_prefix("pool:").filter(|name| !name.is_empty()) {
            Some(name) => Ok(Overflow::Pool(name.into())),
            None => Err(format!("{other:?} is none of \"defer\", \"spill\", \"pool:NAME\"")),
        },
    }
}
