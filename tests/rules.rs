//! Every rule, on a real relay: a sandboxed provider or a fault makes it fire with its cause and next step, a near miss at the same look does not,
//! a restart in between changes nothing, and the incident closes by itself.
//!
//! The clock of the relay is set by the shim (support/shim.rs), and what happened days ago is written into its log before it starts. A near miss
//! is looked at by the same looks as what fires, or by looks that the test sees happen before it fires.

#[path = "rules/of_house.rs"]
mod of_house;
#[path = "rules/of_lanes.rs"]
mod of_lanes;
#[path = "rules/of_mail.rs"]
mod of_mail;
#[path = "rules/of_senders.rs"]
mod of_senders;
