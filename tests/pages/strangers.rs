//! Text of strangers: whatever receivers, senders and operators write, it is shown as text, and nobody obeys it.

use std::collections::BTreeSet;

use serde_json::json;
use support::{
    Act, Client, Mail, Relay, Step,
    browser::{Browser, Screen, Theme},
    http::Api,
    pages::{PAGES, Place},
    relay::free_port,
    scene::Scene,
    town::{PEOPLE, settle},
    visitor::{Visitor, encoded},
};

/// Fields that strangers fill, by the word that tells them apart. Each must be seen somewhere as it is.
const FIELDS: [&str; 8] = ["reply", "tag", "meta", "recipient", "hold", "mute", "stop", "note"];
/// What a page must not hold, whatever it shows: anything that was written by a stranger and is more than text.
const OBEYED: &str = "return [window.hacked && 'a script ran: ' + window.hacked,
    [...document.querySelectorAll('script:not([src^=\"/assets/\"]), img, iframe, object, embed, base, style, [onerror], [onclick], [style]')]
        .map(e => 'an element: ' + e.outerHTML.slice(0, 100))[0],
    (document.body.innerText.match(/[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]/) || [])
        .map(c => 'a character that is obeyed: ' + c.charCodeAt(0).toString(16))[0],
    [...document.querySelectorAll('[href]')].map(e => e.getAttribute('href')).filter(h => !/^(\\/|#|\\?|https:\\/\\/)/.test(h)).map(h => 'a link: ' + h)[0]
    ].filter(Boolean)";

/// What a stranger writes into this field, 128 bytes at most.
fn hostile(field: &str) -> String {
    format!("<script>hacked='{field}'</script><img src=x onerror=hacked=1>\"'&lt;{{{{7*7}}}}`${{1}}{field}")
}

/// The same as a quoted local part has it.
fn local(field: &str) -> String {
    hostile(field).replace('"', "")
}

/// The same with what turns text around.
fn turned(field: &str) -> String {
    format!("{}\u{202e}", hostile(field))
}

/// The same with what clears screens too, for fields that take it.
fn cleared(field: &str) -> String {
    format!("{}\u{9b}2J", turned(field))
}

#[test]
fn whatever_strangers_write_is_text() {
    if !Browser::have() {
        return;
    }
    let port = free_port();
    let scene = Scene::start(|relay: &Relay| {
        settle(relay, &PEOPLE);
        support::http::config(port, &[("app", "app", &["send"])])
    });
    let messages = write(&scene, port);
    let (browser, place) = (Browser::start(), Place::new(&scene.relay, port));
    place.login(&browser, PEOPLE[0].0, PEOPLE[0].1);
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut wrong = Vec::new();
    for address in addresses(&place, &messages) {
        browser.look(Screen::Phone, Theme::Light);
        browser.open(&address);
        browser.eval("document.querySelectorAll('details').forEach(d => d.open = true)", &[]);
        let (obeyed, text) = (browser.eval(OBEYED, &[]), browser.text());
        seen.extend(FIELDS.iter().filter(|field| text.contains(&hostile(field)) || text.contains(&local(field))).copied());
        wrong.extend(obeyed.as_array().unwrap().iter().map(|what| format!("{address}: {what}")));
        wrong.extend(browser.too_wide(Screen::Phone).into_iter().map(|wide| format!("{address}: {wide}")));
        // That there is no such thing is said by an error's page.
        wrong
            .extend(browser.complaints().into_iter().filter(|said| !said.contains("status of 4")).map(|said| format!("{address}: {said}")));
    }
    let unseen: Vec<_> = FIELDS.iter().filter(|field| !seen.contains(**field)).collect();
    wrong.extend((!unseen.is_empty()).then(|| format!("nowhere shown as text: {unseen:?}")));
    assert!(wrong.is_empty(), "{} things:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn data_for_machines_is_no_page() {
    let port = free_port();
    let scene = Scene::start(|relay: &Relay| {
        settle(relay, &PEOPLE);
        support::http::config(port, &[("app", "app", &["send"])])
    });
    let messages = write(&scene, port);
    let visitor = Visitor::login(port, PEOPLE[0].0, PEOPLE[0].1);
    for id in messages {
        for (path, kind) in [(format!("/messages/{id}?as=json"), "application/json"), (format!("/messages/{id}/lines"), "text/plain")] {
            let answer = visitor.get(&path);
            assert!(answer.status == 200 && answer.header("content-type").starts_with(kind), "{path}: {answer:?}");
        }
    }
}

/// Fills every field; returns the messages' ids.
fn write(scene: &Scene, port: u16) -> Vec<String> {
    // Each at a provider of its own, since what one says stops the lane there.
    for domain in ["long.test", "gone.test", "later.test"] {
        scene.dns.mx(domain, 10, &format!("mx.{domain}")).a(&format!("mx.{domain}"), "127.0.0.1");
    }
    scene.mx.script(|_, step| match step {
        Step::Rcpt(rcpt) if rcpt.starts_with("long") => Act::Say(long(550)),
        Step::Rcpt(rcpt) if rcpt.starts_with("later") => Act::Say(format!("451 4.2.0 {}", cleared("reply"))),
        Step::Rcpt(rcpt) if rcpt.starts_with("blocked") => Act::Say(format!("550 5.7.1 blocked, poor reputation {}", hostile("reply"))),
        Step::Rcpt(_) => Act::Say(format!("550 5.1.1 {}", cleared("reply"))),
        _ => Act::Usual,
    });
    let api = Api::new(port, "app");
    let mail = |to: &str| {
        api.mail(&json!({
            "from": format!("\"{}\" <writer@sender.test>", hostile("name").replace('"', "'")), "to": to, "subject": turned("subject").repeat(60), "text": "Hello.\n",
            "tags": [hostile("tag")], "meta": { "order": turned("meta") },
        }))
    };
    let mut ids: Vec<String> = ["later@later.test", "long@long.test", "gone@gone.test", "blocked@cousin.test"].map(mail).into();
    let mut client = Client::hello(scene.relay.port()).expect("the relay listens");
    let text = "From: <writer@sender.test>\r\nMessage-ID: <\"'&lt;{{7*7}}<b@sender.test>\r\nSubject: x\r\n\r\nHello.\r\n";
    let quoted = Mail::raw("", &[&format!("\"{}\"@example.test", local("recipient"))], text.as_bytes());
    ids.extend(client.submit(&quoted).expect("the relay answers").id().map(str::to_owned));
    let bounced = ["long@long.test", "gone@gone.test", "blocked@cousin.test"].into_iter().map(str::to_owned);
    for rcpt in bounced.chain([format!("\"{}\"@example.test", local("recipient"))]) {
        scene.relay.log().wait_for("bounced", &rcpt);
    }
    scene.relay.log().wait_for("deferred", "later@later.test");
    // What operators write is no better: they paste it.
    let relay = &scene.relay;
    relay.ok(["queue", "hold", &ids[0], "--reason", &turned("hold")]);
    relay.ok(["suppress", "add", "noted@example.test", "--note", &turned("note")]);
    relay.ok(["warmup", "stop", "default/example.test", "--reason", &turned("stop")]);
    let opened = relay.log().wait_until("an incident", |event| event["event"] == "incident" && event["key"] == "relay:quarantine");
    relay.ok(["incidents", "mute", opened["incident"].as_str().unwrap(), "--for", "1h", "--reason", &turned("mute")]);
    scene.looked();
    ids
}

/// Every page, every message's pages, and pages that are asked for with hostile words.
fn addresses(place: &Place<'_>, messages: &[String]) -> Vec<String> {
    let mut all: Vec<String> = PAGES.iter().filter(|page| !page.path.contains('{')).map(|page| place.address(page)).collect();
    let of = |id: &String| [format!("/messages/{id}"), format!("/messages/{id}/why")];
    all.extend(messages.iter().flat_map(of).map(|path| place.at(path)));
    all.extend(["/warmup/default/example.test", "/queue?all=yes", "/incidents?state=muted", "/bounces?rule=x"].map(|path| place.at(path)));
    let incidents = support::pages::incidents(place.relay());
    all.extend(incidents.iter().filter_map(|incident| incident["id"].as_str()).map(|id| place.at(format_args!("/incidents/{id}"))));
    let word = encoded(&turned("asked"));
    for path in [
        "/messages?tag=",
        "/queue?provider=",
        "/queue?all=yes&domain=",
        "/suppression?q=",
        "/bounces?rule=",
        "/login?then=",
        "/incidents/",
        "/messages/",
        "/",
    ] {
        all.push(place.at(format_args!("{path}{word}")));
    }
    all
}

/// Ten kilobytes in as many lines as SMTP needs for it.
fn long(code: u16) -> String {
    let mut lines = vec![format!("{code}-5.1.1 {}", "W".repeat(480)); 20];
    lines.push(format!("{code} 5.1.1 {}", hostile("reply")));
    lines.join("\r\n")
}
