//! The text forms of values in a line of the log.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::Serializer;

use crate::Reply;

/// A time as written in the log: RFC 3339 in UTC with three decimals.
pub fn rfc3339_millis(time: Timestamp) -> impl fmt::Display {
    struct Millis(Timestamp);
    impl fmt::Display for Millis {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:.3}", self.0)
        }
    }
    Millis(time)
}

pub(super) fn millis<S: Serializer>(time: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&rfc3339_millis(*time))
}

pub(super) fn maybe_millis<S: Serializer>(time: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => millis(time, s),
        None => s.serialize_none(),
    }
}

pub(super) fn reply_fields<S: Serializer>(reply: &Reply, s: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = s.serialize_map(Some(3))?;
    map.serialize_entry("smtp_code", &reply.code)?;
    if let Some(code) = reply.enhanced {
        map.serialize_entry("smtp_enhanced", &code)?;
    }
    map.serialize_entry("smtp_text", &reply.text)?;
    map.end()
}

pub(super) fn maybe_reply_fields<S: Serializer>(reply: &Option<Reply>, s: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    match reply {
        Some(reply) => reply_fields(reply, s),
        None => s.serialize_map(Some(0))?.end(),
    }
}

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

pub(super) fn no_tags(tags: &Arc<[Arc<str>]>) -> bool {
    tags.is_empty()
}
