//! The operator's way: a provider begins to refuse, the page says so by itself, the mail is held, the cause is mended, the mail goes.

use std::time::Duration;

use support::{
    Act, Relay, Step,
    browser::Browser,
    pages::Place,
    relay::free_port,
    scene::{Scene, letter},
    town::{PEOPLE, settle},
    wait,
};

/// Soon enough for somebody who was called at night: with the five seconds after which the rules look at the latest, ten.
const SOON: Duration = Duration::from_secs(5);
/// What the receiver says for a while.
const REFUSAL: &str = "451 4.7.1 Your IP address 127.0.0.1 has a poor reputation, see our page for senders";
const WAITS: usize = 20;

#[test]
fn from_the_first_refusal_to_the_delivery() {
    if !Browser::have() {
        return;
    }
    let port = free_port();
    let mut scene = Scene::start(|relay: &Relay| {
        settle(relay, &PEOPLE);
        // The canary of the quarantine would need somebody too, and a lane that the feedback stops could not deliver.
        format!(
            "http.address = \"127.0.0.1:{port}\"\nrules.house.enabled = false\nrules.lane.enabled = false\nrules.provider_refuses.minimum = 10\n"
        )
    });
    let (browser, place) = (Browser::start(), Place::new(&scene.relay, port));
    place.login(&browser, PEOPLE[0].0, PEOPLE[0].1);
    browser.until_shown("Mail flows");
    browser.eval("window.same = true", &[]);

    refuse(&scene);
    let to: Vec<String> = (0..WAITS).map(|n| format!("reader{n}@example.test")).collect();
    let id = scene.relay.send(&letter("default", "sender.test", &to));
    let opened = scene.opened("provider_refuses", "provider:example.test");
    let told = wait::within(SOON, || Some(browser.text()).filter(|text| text.contains("Mail to example.test stands since")));
    let told = told.unwrap_or_else(|| panic!("{SOON:?} after {opened} the page says\n{}", browser.text()));
    assert!(told.contains("example.test refuses our mail"), "{told}");
    assert_eq!(browser.eval("return window.same", &[]), true, "nobody loaded the page again");

    browser.find("#providers a[href*='example.test']").click();
    browser.find(&format!("main a[href*='/messages/{id}']")).click();
    for part in ["has a poor reputation", "ip_reputation", "reader0@example.test"] {
        browser.until_shown(part);
    }
    browser.press("Why?");
    browser.until_shown("example.test");

    hold(&browser, &place);
    let held = scene.relay.log().wait_for_many("held", "", WAITS);
    assert!(held.iter().all(|event| event["reason"] == format!("they block us (by {})", PEOPLE[0].0)), "{held:?}");
    scene.mx.behave();
    browser.open(&place.at("/warmup/default/example.test"));
    browser.field("Do").choose("Resume");
    browser.field("because").fill("they took us off their list");
    browser.press("Do it");
    scene.relay.log().wait_until("the lane to go on", |event| event["event"] == "lane" && event["change"] == "steered");
    assert!(scene.mx.messages().is_empty(), "what is held waits, though the receiver would take it");

    browser.open(&place.at(format_args!("/messages/{id}")));
    browser.press("Release");
    browser.until_shown("is released");
    browser.press("Retry now");
    scene.relay.log().wait_for_many("delivered", "", WAITS);
    browser.until_shown("delivered");

    browser.open(&place.at("/"));
    scene.pass(31);
    browser.until_shown("Mail flows");
    // The sentence knows before that.
    scene.relay.log().wait_until("the incident to close", |event| event["rule"] == "provider_refuses" && event["state"] == "closed");
}

/// From now on the receiver refuses for reputation.
fn refuse(scene: &Scene) {
    scene.mx.script(|_, step| match step {
        Step::Rcpt(_) => Act::Say(REFUSAL.into()),
        _ => Act::Usual,
    });
}

/// Holds the provider's mail, after a look at what that is.
fn hold(browser: &Browser, place: &Place<'_>) {
    browser.open(&place.at("/queue"));
    browser.field("Provider").choose("example.test");
    browser.press("Show");
    browser.press("Hold…");
    browser.until_shown("Hold 1 message?");
    browser.field("Reason, for the log").fill("they block us");
    browser.press("Hold 1 message");
    browser.until_shown("1 message is held now.");
}
