//! The pages behind the overview, one file each.

pub(crate) mod incidents;
pub(crate) mod warmup;
