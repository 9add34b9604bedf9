//! Ready mail and the connections that carry it.

pub(crate) mod lanes;
pub(crate) mod pump;
