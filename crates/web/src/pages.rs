//! The pages behind the overview, one file each.

pub(crate) mod incidents;
pub(crate) mod settings;
pub(crate) mod warmup;
