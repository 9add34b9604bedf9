//! The governor as its user sees it.

mod backoff;
mod ledger;
mod priorities;
mod properties;
mod stages;
mod support;
mod times;
mod warmup;
