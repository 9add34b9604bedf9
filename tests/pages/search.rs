//! Messages are found by whatever is known of them, and nobody's address stands in a URL or before a viewer.

use serde_json::json;
use support::{
    Act, Relay, Step,
    browser::Browser,
    http::{Api, config},
    pages::{PAGES, Place},
    relay::free_port,
    scene::Scene,
    town::{PEOPLE, settle},
    visitor::Visitor,
};

/// Somebody who is written to, and somebody who writes; the letters before the "@" are nowhere else.
const READER: &str = "zoe.quill@example.test";
const WRITER: &str = "yuri.bloom@sender.test";

struct Post {
    scene: Scene,
    port: u16,
    /// The message that is looked for, and the one that is not.
    ids: [String; 2],
    /// Its Message-ID.
    message_id: String,
}

fn post() -> Post {
    let port = free_port();
    let scene = Scene::start(|relay: &Relay| {
        settle(relay, &PEOPLE);
        config(port, &[("app", "app", &["send"]), ("other", "other", &["send"])])
            + "user.app.streams = [\"letters\"]\nuser.other.stream = \"default\"\n"
    });
    scene.mx.script(|_, step| match step {
        // Receivers name whom they speak of.
        Step::Rcpt(READER) => Act::Say(format!("550 5.1.1 <{READER}>: no such user here")),
        Step::Rcpt(rcpt) if rcpt.starts_with("later") => Act::Say(format!("451 4.2.0 <{READER}> has moved, come back later")),
        _ => Act::Usual,
    });
    let wanted = Api::new(port, "app").mail(&json!({
        "from": WRITER, "to": READER, "subject": "s", "text": "Hello.\n", "stream": "letters", "tags": ["winter"], "meta": { "order": "4711" },
    }));
    let other =
        Api::new(port, "other").mail(&json!({ "from": "hello@other.test", "to": "b@cousin.test", "subject": "s", "text": "Hello.\n" }));
    scene.relay.log().wait_for("bounced", READER);
    scene.relay.log().wait_for("delivered", "b@cousin.test");
    let accepted = scene.relay.log().wait_for("accepted", READER);
    let message_id = accepted["message_id"].as_str().unwrap().to_owned();
    Post { scene, port, ids: [wanted, other], message_id }
}

#[test]
fn a_message_is_found_by_each_thing_that_is_known_of_it() {
    if !Browser::have() {
        return;
    }
    let Post { scene, port, ids, message_id } = post();
    let (browser, place) = (Browser::start(), Place::new(&scene.relay, port));
    place.login(&browser, PEOPLE[0].0, PEOPLE[0].1);
    let found = |what: &str| {
        browser.find("main [role=status]");
        let text = browser.text();
        assert!(text.contains(&ids[0]) && !text.contains(&ids[1]), "by {what}:\n{text}");
        let url = browser.url();
        assert!(!["zoe", "yuri"].iter().any(|part| url.contains(part)), "{what}: an address of a person stands in {url}");
    };
    for text in [READER, "@example.test", &message_id, "winter", "order=4711"] {
        browser.open(&place.at("/messages"));
        browser.field("Find").fill(text);
        browser.press("Find");
        found(text);
    }
    let part = &ids[0][14..];
    for (label, text) in [
        ("Recipient", READER),
        ("Sender", WRITER),
        ("Id or part of one", part),
        ("Message-ID", &*message_id),
        ("Recipient's domain", "example.test"),
        ("Provider", "example.test"),
        ("Event", "bounced"),
        ("What the reply meant", "invalid recipient"),
        ("Stream", "letters"),
        ("Sent by user", "app"),
        ("Tag", "winter"),
        ("Metadata (name=value)", "order=4711"),
    ] {
        browser.open(&place.at("/messages"));
        browser.eval("document.querySelectorAll('main details').forEach(d => d.open = true)", &[]);
        let field = browser.field(label);
        if field.attribute("maxlength").is_some() {
            field.fill(text)
        } else {
            field.choose(text)
        }
        browser.press("Search");
        found(label);
    }
    // A whole id leads to the message.
    browser.open(&place.at("/messages"));
    browser.field("Find").fill(&ids[0]);
    browser.press("Find");
    // The list shows what the receiver said as well: only the address tells the message's page.
    let its_page = place.at(format_args!("/messages/{}", ids[0]));
    support::wait::until("the message's page", || (browser.url() == its_page).then_some(()));
    browser.until_shown("no such user here");
    browser.open(&place.at("/messages?since=1m&until=2000-01-01T00:00:00Z"));
    assert!(!browser.text().contains(&ids[0]), "{}", browser.text());
    drop(browser.complaints());
}

#[test]
fn viewers_do_not_see_whose_mail_it_is() {
    let Post { scene, port, ids, .. } = post();
    scene.relay.ok(["suppress", "add", READER, "--scope", "stream:letters"]);
    Api::new(port, "other").mail(&json!({ "from": "hello@other.test", "to": "later@example.test", "subject": "s", "text": "Hello.\n" }));
    scene.relay.log().wait_for("deferred", "later@example.test");
    let bounced = scene.relay.log().wait_for("bounced", READER);
    let rule = format!("/bounces?rule={}", bounced["rule"].as_str().unwrap());
    let (operator, viewer) = (Visitor::login(port, PEOPLE[0].0, PEOPLE[0].1), Visitor::login(port, PEOPLE[1].0, PEOPLE[1].1));
    let own = [format!("/messages/{}", ids[0]), format!("/messages/{}/why", ids[0]), format!("/messages/{}/lines", ids[0])];
    let listed = PAGES.iter().map(|page| page.path.to_owned()).filter(|path| !path.contains('{'));
    let paths: Vec<String> =
        listed.chain(own).flat_map(|path| [format!("{path}?as=json"), path]).chain([format!("{rule}&as=json"), rule]).collect();
    let names = |text: &str| ["zoe.quill", "yuri.bloom"].iter().any(|name| text.contains(name));
    let mut shown = 0;
    for path in &paths {
        shown += usize::from(names(&operator.get(path).text()));
        let answer = viewer.get(path);
        assert!(answer.status == 200 && !names(&answer.text()), "{path}: {}", answer.text());
    }
    assert!(shown >= 10, "an operator sees them on {shown} pages");
    // Nor by asking: what is found says nothing that is not shown.
    let token = viewer.token();
    let answer = viewer.post("/messages", &[(token.0, &token.1), ("rcpt", READER)]);
    assert!(!answer.text().replace(&format!("value=\"{READER}\""), "").contains("zoe.quill"), "{}", answer.text());
    // Nor letter by letter.
    for (field, part) in [("rcpt", "zo*"), ("rcpt", "quill"), ("sender", "yur")] {
        let answer = viewer.post("/messages", &[(token.0, &token.1), (field, part)]);
        assert!(answer.status == 400 && answer.text().contains("a part of one finds nothing"), "{part}: {}", answer.text());
        assert_eq!(operator.post("/messages", &[(operator.token().0, &operator.token().1), (field, part)]).status, 200);
    }
    // Nor by the place where a list goes on.
    let entries: String = (0..60).map(|n| format!("hidden.person{n}@example.test\n")).collect();
    let list = scene.relay.dir().join("list.txt");
    std::fs::write(&list, entries).unwrap();
    scene.relay.ok(["suppress", "import", list.to_str().unwrap()]);
    let page = viewer.get("/suppression").text();
    assert!(page.contains("name=\"after\"") && !page.contains("hidden.person"), "{page}");
    let after = page.split("name=\"after\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let rest = viewer.post("/suppression/find", &[(token.0, &token.1), ("after", after)]);
    assert!(rest.status == 200 && rest.text().contains("h…@example.test"), "{}", rest.text());
}
