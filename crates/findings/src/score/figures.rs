//! Figures as people and machines read them.

use serde::{Serialize, Serializer};

/// To a tenth: what is finer says nothing.
pub(super) fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

pub(super) fn tenths<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(tenth(*number))
}

pub(super) fn some_tenths<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    number.map(tenth).serialize(serializer)
}

/// "9.8 points".
pub(super) fn in_points(points: f64) -> String {
    match tenth(points) {
        1.0 => "1 point".to_owned(),
        // What costs something never costs "0 points".
        0.0 => "less than 0.1 points".to_owned(),
        points => format!("{points} points"),
    }
}

/// A rate in percent with as many places as say something: "0.05 %", "2.4 %", "12 %".
pub(super) fn percent(rate: f64) -> String {
    let places = match rate {
        _ if rate < 1.0 => 2,
        _ if rate < 10.0 => 1,
        _ => 0,
    };
    let text = format!("{rate:.places$}");
    let text = if places > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

/// "12,345".
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}
