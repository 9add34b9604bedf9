//! The pages about mail: messages, their search, and the queue; as a browser without script gets them.

use serde_json::Value;
use support::{
    Act, Mail, Step, World,
    http::Reply,
    relay::free_port,
    town::{PEOPLE, settle},
    visitor::{Visitor, encoded},
    world,
};

const FROM: &str = "shop@sender.test";
const HOSTILE: &str = "<script>alert(1)</script>\"' onload=x";

/// A relay with its page, an operator and a viewer.
struct Desk {
    world: World,
    olga: Visitor,
    vera: Visitor,
}

impl Desk {
    fn start(extra: &str) -> Self {
        let port = free_port();
        let world = world::listening(|relay| {
            settle(relay, &PEOPLE);
            format!("http.address = \"127.0.0.1:{port}\"\nretry.schedule = [\"1h\"]\n{extra}")
        });
        let [olga, vera] = PEOPLE.map(|(name, password, _)| Visitor::login(port, name, password));
        Self { world, olga, vera }
    }

    fn send(&self, to: &str) -> String {
        self.world.relay.send(&Mail::new(FROM, &[to], "hello"))
    }

    /// What the page says of messages that wait.
    fn waiting(&self) -> Value {
        self.olga.get("/queue?all=yes&as=json").json()["list"].clone()
    }

    /// An operator's form; returns the page that follows.
    #[track_caller]
    fn steer(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let (name, token) = self.olga.token();
        let answer = self.olga.post(path, &[&[(name, &*token)], fields].concat());
        match answer.status {
            303 => self.olga.get(answer.header("location")),
            200 => answer,
            status => panic!("{path} answers {status}: {}", answer.text()),
        }
    }

    /// A search by somebody.
    #[track_caller]
    fn search(&self, who: &Visitor, fields: &[(&str, &str)]) -> String {
        let (name, token) = who.token();
        let answer = who.post("/messages", &[&[(name, &*token)], fields].concat());
        match answer.status {
            303 => who.get(answer.header("location")).text(),
            200 => answer.text(),
            status => panic!("{fields:?} answers {status}: {}", answer.text()),
        }
    }
}

#[track_caller]
fn shows(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part:?} is not in\n{page}");
    }
}

/// The ids of the messages in a table, in order.
fn found(page: &str) -> Vec<String> {
    let table = page.split_once("<tbody>").map_or("", |(_, table)| table);
    let ids = table.split("href=\"/messages/").skip(1).map(|rest| rest.split('"').next().unwrap_or_default().to_owned());
    ids.filter(|id| id.len() == 26).collect()
}

#[test]
fn a_message_page_tells_everything_that_was_said_and_what_it_waits_for() {
    let desk = Desk::start("");
    desk.world.mx.script(|_, step| match step {
        Step::Rcpt("ann@example.test") => Act::Say(format!("451-4.7.1 first {HOSTILE}\r\n451 4.7.1 second <ann@example.test>")),
        Step::Rcpt("gone@example.test") => Act::Say("550 5.1.1 no such user".into()),
        _ => Act::Usual,
    });
    let to = ["ann@example.test", "gone@example.test", "bob@example.test"];
    let id = desk.world.relay.send(&Mail::new(FROM, &to, "hello"));
    let log = desk.world.relay.log();
    for (event, rcpt) in [("deferred", to[0]), ("bounced", to[1]), ("delivered", to[2])] {
        log.wait_for(event, rcpt);
    }
    let page = desk.olga.get(&format!("/messages/{id}")).text();
    shows(
        &page,
        &[
            "3 recipients: 1 tried later, 1 bounced, 1 delivered",
            "451 4.7.1 first &lt;script&gt;alert(1)&lt;/script&gt;",
            "\n4.7.1 second &lt;ann@example.test&gt;",
            "<strong>Now: </strong>until ",
            "attempt 1 by default",
            "It means</dt>",
            "What to do</dt>",
            "by rule <code>",
            "550 5.1.1 no such user",
            "connection ",
            "envelope ",
            "Failure notice",
            "action=\"/queue/ask\"",
            &format!("href=\"/messages/{id}/lines\""),
        ],
    );
    assert!(!page.contains("<script>alert"), "{page}");

    let data = desk.olga.get(&format!("/messages/{id}?as=json")).json();
    let of = |rcpt: &str| data["recipients"].as_array().unwrap().iter().find(|known| known["rcpt"] == *rcpt).unwrap().clone();
    assert_eq!((&of(to[2])["state"], &of(to[0])["waits"]["state"]), (&"delivered".into(), &"later".into()), "{data:#}");
    assert_eq!(of(to[1])["lines"][1]["smtp_text"], "5.1.1 no such user");
    let lines = desk.olga.get(&format!("/messages/{id}/lines")).text();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.len() >= 7 && events.iter().filter(|event| event["message"] == *id).count() == 6, "{lines}");

    let why = desk.olga.get(&format!("/messages/{id}/why")).text();
    shows(&why, &["example.test</h2>", "where its mail goes", "ann@example.test", "mx1.example.test"]);
    assert_eq!(desk.olga.get(&format!("/messages/{id}/why?as=json")).json()[0]["domain"], "example.test");

    // A viewer sees no local part anywhere, and no forms.
    for path in ["", "?as=json", "/lines", "/why", "/why?as=json"] {
        let page = desk.vera.get(&format!("/messages/{id}{path}"));
        let text = page.text();
        assert!(page.status == 200 && text.contains("…@example.test"), "{path}: {text}");
        for local in ["ann@", "gone@", "bob@", "shop@", "/queue/ask"] {
            assert!(!text.contains(local), "{path}: {local} in {text}");
        }
    }
    for (path, status) in [
        ("01KAQ2V3W4X5Y6Z7A8B9C0D1E2", 404),
        ("nonsense", 404),
        ("01KAQ2V3W4X5Y6Z7A8B9C0D1E2/lines", 404),
        ("01KAQ2V3W4X5Y6Z7A8B9C0D1E2/why", 404),
    ] {
        assert_eq!(desk.olga.get(&format!("/messages/{path}")).status, status, "{path}");
    }
    assert_eq!(Visitor::stranger(port_of(&desk)).get(&format!("/messages/{id}")).status, 303);
}

fn port_of(desk: &Desk) -> u16 {
    let config: toml::Table = std::fs::read_to_string(desk.world.relay.config_path()).unwrap().parse().unwrap();
    config["http"]["address"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn the_queue_is_looked_at_and_steered_after_a_look_at_how_much_it_is() {
    let desk = Desk::start("");
    desk.world.mx.script(|_, step| match step {
        Step::Rcpt(_) => Act::Say("451 4.3.0 try later".into()),
        _ => Act::Usual,
    });
    let ids: Vec<String> = (0..3).map(|n| desk.send(&format!("r{n}@example.test"))).collect();
    desk.world.relay.log().wait_for_many("deferred", "", 3);
    let page = desk.olga.get("/queue").text();
    shows(&page, &["3 messages wait", "href=\"/queue?provider=example.test\"", "451 4.3.0 try later"]);
    let page = desk.olga.get("/queue?provider=example.test").text();
    shows(&page, &["Steer these 3 messages", "r0@example.test", "tried later", "1–3 of 3 messages", "value=\"drop\""]);
    assert_eq!(found(&page), ids, "the oldest first");
    for (query, n) in [
        ("provider=example.test", 3),
        ("domain=EXAMPLE.test", 3),
        ("stream=default", 3),
        ("stream=news", 0),
        ("all=yes", 3),
        ("all=yes&from=2", 1),
    ] {
        let list = desk.olga.get(&format!("/queue?{query}&as=json")).json()["list"]["messages"].clone();
        assert_eq!(list.as_array().unwrap().len(), n, "{query}: {list:#}");
    }

    // A look changes nothing.
    let preview = desk.steer("/queue/ask", &[("action", "hold"), ("provider", "example.test")]).text();
    shows(&preview, &["Hold 3 messages?", "to provider example.test", "name=\"reason\"", "r0@example.test"]);
    assert!(desk.waiting()["messages"][0]["standing"][0]["state"] != "held");
    let held = desk.steer("/queue/change", &[("action", "hold"), ("provider", "example.test"), ("reason", HOSTILE)]).text();
    shows(&held, &["3 messages are held now.", "3 held."]);
    let line = desk.world.relay.log().wait_for("held", "r0@example.test");
    assert!(line.to_string().contains("(by olga)"), "{line}");
    let told = desk.olga.get(&format!("/messages/{}", ids[0])).text();
    shows(&told, &["&lt;script&gt;", "(by olga)"]);
    assert!(!told.contains("<script>alert"), "{told}");

    let one = desk.steer("/queue/ask", &[("action", "release"), ("id", &ids[0])]).text();
    shows(&one, &["1 message is released.", &format!("Message <code>{}", ids[0])]);
    assert_eq!(desk.world.relay.log().wait_for("released", "r0@example.test")["by"], "olga");
    desk.world.mx.behave();
    shows(&desk.steer("/queue/ask", &[("action", "retry"), ("id", &ids[0])]).text(), &["1 message is due now."]);
    desk.world.relay.log().wait_for("delivered", "r0@example.test");

    shows(&desk.steer("/queue/ask", &[("action", "drop"), ("all", "yes")]).text(), &["Drop 2 messages?", "nobody is told"]);
    let dropped = desk.steer("/queue/change", &[("action", "drop"), ("all", "yes"), ("reason", "sent by mistake")]).text();
    shows(&dropped, &["2 messages are removed.", "0 messages wait"]);
    let line = desk.world.relay.log().wait_for("cancelled", "r1@example.test");
    assert_eq!((&line["by"], &line["reason"]), (&"olga".into(), &"sent by mistake".into()));
    shows(&desk.steer("/queue/ask", &[("action", "drop"), ("all", "yes")]).text(), &["Nothing fits"]);
}

#[test]
fn nobody_steers_the_queue_who_may_not() {
    let desk = Desk::start("");
    desk.world.mx.script(|_, step| match step {
        Step::Rcpt(_) => Act::Say("451 4.3.0 try later".into()),
        _ => Act::Usual,
    });
    desk.send("ann@example.test");
    desk.world.relay.log().wait_for("deferred", "ann@example.test");
    let fields = [("action", "drop"), ("all", "yes"), ("reason", "x")];
    for path in ["/queue/ask", "/queue/change"] {
        let (name, token) = desk.vera.token();
        assert_eq!(desk.vera.post(path, &[&[(name, &*token)], &fields[..]].concat()).status, 403, "a viewer: {path}");
        let (_, operator) = desk.olga.token();
        assert_eq!(desk.olga.post(path, &fields).status, 403, "no token: {path}");
        assert_eq!(desk.olga.post(path, &[&[(name, &*token)], &fields[..]].concat()).status, 403, "another's token: {path}");
        let elsewhere = [("Sec-Fetch-Site", "cross-site")];
        let whole = [&[(name, &*operator)], &fields[..]].concat();
        assert_eq!(desk.olga.post_with(path, &elsewhere, &whole).status, 403, "another site: {path}");
        assert_eq!(desk.olga.get(path).status, 405, "{path} by a link");
        for bad in [&[("action", "drop"), ("reason", "x")][..], &[("action", "burn"), ("all", "yes")], &[("action", "drop"), ("id", "1")]] {
            let answer = desk.olga.post(path, &[&[(name, &*operator)], bad].concat());
            assert_eq!(answer.status, 400, "{bad:?}: {}", answer.text());
        }
    }
    let (name, operator) = desk.olga.token();
    assert_eq!(
        desk.olga.post("/queue/change", &[(name, &operator), ("action", "drop"), ("all", "yes")]).status,
        400,
        "a drop has a reason"
    );
    assert_eq!(desk.waiting()["total"], 1);
    let page = desk.vera.get("/queue?all=yes").text();
    assert!(page.contains("a…@example.test") && !page.contains("ann@") && !page.contains("/queue/ask"), "{page}");
}

#[test]
fn a_search_finds_by_everything_that_is_known_and_puts_no_address_into_a_link() {
    let desk = Desk::start("stream.news = {}\nlisten.default.streams = [\"*\"]\n");
    desk.world.mx.script(|_, step| match step {
        Step::Rcpt("gone@example.test") => Act::Say("550 5.1.1 no such user".into()),
        _ => Act::Usual,
    });
    let news = "From: shop@sender.test\r\nMessage-ID: <4711.news@sender.test>\r\nX-Posthaste-Stream: news\r\nX-Posthaste-Tag: winter\r\nSubject: x\r\n\r\nx\r\n";
    let [ann, gone] =
        ["ann@example.test", "gone@example.test"].map(|to| desk.world.relay.send(&Mail::raw("news@sender.test", &[to], news.as_bytes())));
    let other = desk.send("bob@example.test");
    for (event, rcpt) in [("delivered", "ann@example.test"), ("bounced", "gone@example.test"), ("delivered", "bob@example.test")] {
        desk.world.relay.log().wait_for(event, rcpt);
    }
    for (name, value, wanted, other) in [
        ("rcpt", "ann@example.test", &ann, &gone),
        ("rcpt", "*ann@*", &ann, &gone),
        ("message", &other[18..], &other, &gone),
        ("message_id", "<4711.news@sender.test>", &gone, &other),
        ("tag", "winter", &gone, &other),
        ("stream", "news", &gone, &other),
        ("class", "invalid_recipient", &gone, &ann),
        ("event", "bounced", &gone, &ann),
        ("event", "refused", &gone, &ann),
        ("sender", "shop@sender.test", &other, &ann),
        ("find", "bob@example.test", &other, &ann),
        ("find", "<4711.news@sender.test>", &gone, &other),
        ("find", "winter", &gone, &other),
    ] {
        let page = desk.search(&desk.olga, &[(name, value)]);
        let found = found(&page);
        assert!(found.contains(wanted) && !found.contains(other), "{name}={value}: {found:?} in {page}");
        shows(&page, &["That is all"]);
    }
    for query in [
        "domain=example.test",
        "provider=example.test&event=delivered",
        "source=default",
        "since=1h&until=2099-01-01T00:00:00Z",
        "rcpt=%40example.test",
    ] {
        let page = desk.olga.get(&format!("/messages?{query}")).text();
        assert!(found(&page).contains(&ann), "{query}: {page}");
    }
    shows(&desk.olga.get("/messages?provider=google").text(), &["Nothing in the log"]);
    shows(&desk.olga.get("/messages").text(), &["Latest events of mail", &ann]);
    let (name, token) = desk.olga.token();
    assert_eq!(desk.olga.post("/messages", &[(name, &token), ("find", &ann)]).header("location"), format!("/messages/{ann}"));

    // Where an address is looked for, the answer stands under a path that does not have it.
    let answer = desk.olga.post("/messages", &[(name, &token), ("rcpt", "ann@example.test")]);
    assert_eq!((answer.status, answer.header("location")), (200, ""));
    let links = answer.text();
    assert!(!links.split("href=\"").skip(1).any(|rest| rest.split('"').next().unwrap_or_default().contains("ann")), "{links}");
    assert_eq!(desk.olga.get(&format!("/messages?rcpt={}", encoded("ann@example.test"))).status, 400);
    assert_eq!(desk.olga.post("/messages", &[("rcpt", "ann@example.test")]).status, 403, "a form of another site");

    let slip = desk.olga.get("/messages?class=invalid_recipent");
    assert_eq!(slip.status, 400);
    shows(&slip.text(), &["did you mean invalid_recipient?"]);
    assert_eq!(desk.olga.get("/messages?cursor=x&event=bounced").status, 400);
    let lines = desk.olga.get("/messages?event=bounced&as=json").json();
    let of = |id: &str| lines["lines"].as_array().unwrap().iter().filter(|line| line["message"] == *id).count();
    assert_eq!((of(&gone), of(&ann), &lines["cursor"]), (1, 0, &Value::Null), "{lines:#}");
    let data = desk.olga.post("/messages?as=json", &[(name, &token), ("rcpt", "ann@example.test")]).json();
    let found = data["lines"].as_array().unwrap();
    assert!(!found.is_empty() && found.iter().all(|line| line["rcpt"] == "ann@example.test"), "{data:#}");

    let seen = desk.search(&desk.vera, &[("tag", "winter")]) + &desk.vera.get("/messages?as=json").text();
    assert!(seen.contains("a…@example.test") && !seen.contains("ann@") && !seen.contains("shop@"), "{seen}");
}

#[test]
fn what_does_not_fit_on_a_page_follows_by_a_button() {
    let desk = Desk::start("");
    let to: Vec<String> = (0..70).map(|n| format!("r{n}@example.test")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let id = desk.world.relay.send(&Mail::new(FROM, &to, "hello"));
    desk.world.relay.log().wait_for_many("delivered", "", 70);
    let first = desk.olga.get("/messages?event=delivered").text();
    assert_eq!(found(&first).len(), 50);
    let cursor = first.split_once("name=\"cursor\" value=\"").expect("a way on").1.split('"').next().unwrap().to_owned();
    let rest = desk.olga.get(&format!("/messages?event=delivered&cursor={cursor}")).text();
    assert_eq!(found(&rest).len(), 20);
    shows(&rest, &["That is all: 20 found"]);
    let all = [found(&first), found(&rest)].concat();
    assert!(all.iter().all(|one| *one == id));
    // The same by an address, which goes on by a form.
    let page = desk.search(&desk.olga, &[("rcpt", "*@example*")]);
    shows(&page, &["<form method=\"post\" action=\"/messages\"><input type=\"hidden\" name=\"form\"", "name=\"cursor\""]);
    // Recipients come in pages too.
    let page = desk.olga.get(&format!("/messages/{id}")).text();
    shows(&page, &["70 recipients: delivered", "20 more recipients", "r49@example.test"]);
    assert!(!page.contains("r50@example.test"));
    shows(&desk.olga.get(&format!("/messages/{id}?from=50")).text(), &["r69@example.test", "The recipients before"]);
}
