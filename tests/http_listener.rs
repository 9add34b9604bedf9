//! The listener of the HTTP doors: its default address, TLS, and connections that last.

use std::net::TcpListener;

use support::{
    Client, Relay,
    relay::{free_port, text},
};

#[test]
fn a_default_address_that_another_program_has_does_not_keep_mail_waiting() {
    // If this fails, another program has it already.
    let held = TcpListener::bind(("127.0.0.1", 8025));
    let mut relay = Relay::prepare("");
    relay.leave_out("http");
    relay.run();
    assert!(Client::hello(relay.port()).is_ok());
    let said = relay.stderr();
    assert!(said.contains("there is no web page and no HTTP API: cannot listen on 127.0.0.1:8025"), "{said}");
    assert!(said.contains("set http.address") && !said.contains("HTTP API are at"), "{said}");
    drop(held);
}

#[test]
fn an_address_of_the_configuration_that_another_program_has_is_an_error() {
    let port = free_port();
    let _held = TcpListener::bind(("127.0.0.1", port)).unwrap();
    for address in [format!("\"127.0.0.1:{port}\""), format!("[\"127.0.0.1:0\", \"127.0.0.1:{port}\"]")] {
        let mut relay = Relay::prepare(&format!("http.address = {address}"));
        let out = relay.cli(["run"]);
        let said = text(&out.stderr);
        assert!(!out.status.success() && said.contains(&format!("http: cannot listen on 127.0.0.1:{port}")), "{said}");
        relay.spoilt();
    }
}
