//! The pages behind the overview, one file each.

pub(crate) mod bounces;
pub(crate) mod incidents;
pub(crate) mod messages;
pub(crate) mod queue;
pub(crate) mod senders;
pub(crate) mod settings;
mod standing;
pub(crate) mod streams;
pub(crate) mod suppression;
pub(crate) mod warmup;
