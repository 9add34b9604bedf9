//! Code that the tests share.

pub mod browser;
pub mod certs;
pub mod client;
pub mod dns;
pub mod gate;
pub mod history;
pub mod http;
pub mod imap;
pub mod load;
pub mod log;
pub mod mx;
pub mod netns;
pub mod oauth;
pub mod openid;
pub mod pages;
pub mod pebble;
pub mod people;
pub mod postfix;
pub mod relay;
pub mod scene;
pub mod shim;
pub mod tools;
pub mod town;
pub mod visitor;
pub mod wait;
pub mod world;

pub use client::{Answer, Client, Mail};
pub use gate::Gate;
pub use log::DeliveryLog;
pub use mx::{Act, FakeMx, Step, Tls, Transaction};
pub use relay::Relay;
pub use world::World;
