//! What may be sent when: permits, and the mail that waits for them.

pub(crate) mod block;
pub(crate) mod choose;
pub(crate) mod forecast;
pub(crate) mod permits;
pub(crate) mod waitlist;
