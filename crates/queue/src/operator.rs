//! Operators' questions: the selection of messages, and the tables that are shown.
//!
//! Nothing here changes the queue. Selections by domain, provider or stream scan every queued message: an operator types them, and with a
//! million messages one takes 50 to 120 ms. A selection by id, as programs send it, takes a microsecond.

pub(crate) mod guarding;
pub(crate) mod question;
pub(crate) mod rows;
pub(crate) mod selection;
pub(crate) mod waiting;
pub(crate) mod waits;
pub(crate) mod why;
