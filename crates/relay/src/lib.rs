//! The relay: the one crate that knows all the others.
//!
//! A message comes in by [`listen`] and [`intake`], waits in [`dispatch`], leaves by [`attempt`], and is written down by [`scribe`].

pub mod acme;
pub mod admin;
pub mod attempt;
pub mod certs;
pub mod commands;
pub mod config;
pub mod dispatch;
pub mod dkim;
pub mod engine;
pub mod feedback;
pub mod http;
pub mod intake;
pub mod lane_event;
pub mod ledger;
pub mod listen;
pub mod live;
pub mod pending;
pub mod recover;
pub mod returns;
pub mod run;
pub mod scribe;
pub mod sources;
pub mod warmup;
pub mod way;
pub mod why;
