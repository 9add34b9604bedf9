//! The messages that wait for delivery.

pub(crate) mod deadlines;
pub(crate) mod domains;
pub(crate) mod schedule;
pub(crate) mod settle;
pub(crate) mod streams;
pub(crate) mod table;
