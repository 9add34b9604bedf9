//! What operators ask of the queue, and what they do to it.

pub(crate) mod steer;
pub(crate) mod why;
