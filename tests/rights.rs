//! What users may do, and what they may not do to each other: the rights of tokens at every door, messages, suppression entries, streams; and
//! logins that end with their users.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use support::{
    Client, Mail, World,
    client::Answer,
    http::{Api, config},
    people::{add_user, auth_plain},
    relay::free_port,
    world::listening,
};

const TO: &str = "reader@example.test";
/// AUTH in plain text is enough here.
const AUTH: &str = "listen.default.auth = \"always\"\n";
const ALL: &[&str] = &["send", "read", "suppress"];

/// A relay with the API on this port, tokens like the users' names, and more TOML.
fn start(users: &[(&str, &[&str])], more: &str) -> (World, u16) {
    let port = free_port();
    let tokens: Vec<_> = users.iter().map(|(name, rights)| (*name, *name, *rights)).collect();
    let world = World::start(&format!("{AUTH}{}{more}", config(port, &tokens)));
    (world, port)
}

fn client(world: &World) -> Client {
    Client::hello(world.relay.port()).unwrap()
}

/// The last reply to a login by a token.
fn by_token(client: &mut Client, mechanism: &str, user: &str, token: &str) -> Answer {
    let message = match mechanism {
        "XOAUTH2" => format!("user={user}\x01auth=Bearer {token}\x01\x01"),
        _ => format!("n,a={user},\x01auth=Bearer {token}\x01\x01"),
    };
    let answer = client.say(&format!("AUTH {mechanism} {}", BASE64_STANDARD.encode(message))).unwrap();
    if answer.code == 334 { client.say(&BASE64_STANDARD.encode("\x01")).unwrap() } else { answer }
}

fn draft(from: &str, to: &str) -> Value {
    json!({"from": from, "to": to, "text": "Hello.\n"})
}

#[test]
fn a_token_may_by_smtp_what_it_may_by_http() {
    let (world, port) = start(&[("reader", &["read"]), ("lister", &["suppress", "admin"]), ("sender", &["send"])], "");
    for mechanism in ["XOAUTH2", "OAUTHBEARER"] {
        for user in ["reader", "lister"] {
            let mut client = client(&world);
            let refused = by_token(&mut client, mechanism, user, user);
            assert_eq!((refused.code, refused.text().contains("\"send\"")), (535, true), "{mechanism} {user}: {refused:?}");
            let refused = Api::new(port, user).post("/v1/messages", &draft("a@sender.test", TO));
            let said = refused.json()["detail"].as_str().unwrap_or_default().to_owned();
            assert!(
                refused.status == 403 && said.contains(&format!("`posthaste user token {user} --rights ")) && said.contains(",send`"),
                "{said}"
            );
        }
        assert_eq!(by_token(&mut client(&world), mechanism, "sender", "sender").code, 235, "{mechanism}");
    }
    // A session does not keep a right that its token has lost.
    let mut open = client(&world);
    assert_eq!(by_token(&mut open, "XOAUTH2", "sender", "sender").code, 235);
    world.relay.change_config("user.sender.http = [\"read\"]");
    world.relay.ok(["reload"]);
    assert_eq!(open.say("MAIL FROM:<a@sender.test>").unwrap().code, 421);
}

#[test]
fn a_user_sees_its_own_messages_and_no_others() {
    let (world, port) = start(&[("alice", ALL), ("bob", ALL), ("watch", &["monitor"])], "");
    let [alice, bob, watch] = ["alice", "bob", "watch"].map(|token| Api::new(port, token));
    let id = alice.mail(&json!({"from": "a@sender.test", "to": TO, "bcc": "secret@example.test", "text": "x", "meta": {"deal": "7"}}));
    let anonymous = world.relay.send(&Mail::new("x@sender.test", &[TO], "nobody's"));
    world.relay.log().wait_for("delivered", "secret@example.test");
    let status = |api: &Api, id: &str| api.get(&format!("/v1/messages/{id}")).status;
    assert_eq!([&alice, &bob, &watch].map(|api| status(api, &id)), [200, 404, 200]);
    assert_eq!([&alice, &bob, &watch].map(|api| status(api, &anonymous)), [404, 404, 200]);
    let (others, none) = (bob.get(&format!("/v1/messages/{id}")), bob.get("/v1/messages/01K6Z5D0V4QK9M2T8YJ3N7RXCE"));
    assert_eq!(others.json(), none.json(), "nothing tells that there is such a message");
}

#[test]
fn a_user_changes_its_own_entries_and_no_others() {
    let users: [(&str, &[&str]); 4] = [("alice", ALL), ("bob", ALL), ("watch", &["monitor"]), ("root", &["admin"])];
    let (world, port) = start(&users, "stream.news.priority = 20\nuser.alice.stream = \"news\"\n");
    let [alice, bob, watch, root] = ["alice", "bob", "watch", "root"].map(|token| Api::new(port, token));
    let put = |api: &Api, address: &str, body: Value| {
        let reply =
            api.call("PUT", &format!("/v1/suppressions/{address}"), &[("Content-Type", "application/json")], body.to_string().as_bytes());
        (reply.status, reply.json()["scope"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(put(&bob, TO, json!({})), (200, "user:bob".into()));
    assert_eq!(put(&bob, "g@x.test", json!({"scope": "global"})).0, 403);
    assert_eq!(put(&bob, "u@x.test", json!({"scope": "user:alice"})).0, 404);
    assert_eq!(put(&bob, "s@x.test", json!({"scope": "stream:news"})).0, 404);
    assert_eq!(put(&watch, "m@x.test", json!({})).0, 403);
    assert_eq!(put(&alice, "s@x.test", json!({"scope": "stream:news"})).0, 200);
    assert_eq!(put(&root, "g@x.test", json!({})), (200, "global".into()));
    let import =
        bob.call("POST", "/v1/suppressions/import", &[("Content-Type", "text/csv")], b"address,scope\ni@x.test,global\nj@x.test,\n");
    assert_eq!((import.json()["added"].as_u64(), import.json()["bad"].as_u64()), (Some(1), Some(1)), "{}", import.text());

    let listed = |api: &Api| {
        let all = api.get("/v1/suppressions").json();
        let mut scopes: Vec<_> = all["suppressions"].as_array().unwrap().iter().map(|e| e["scope"].as_str().unwrap().to_owned()).collect();
        scopes.sort();
        scopes
    };
    let all = ["global", "stream:news", "user:bob", "user:bob"];
    assert_eq!([&alice, &bob].map(listed), [vec!["stream:news"], vec!["user:bob"; 2]]);
    assert_eq!([&watch, &root].map(listed), [all, all]);
    assert!(!bob.get("/v1/suppressions/export").text().contains("global") && root.get("/v1/suppressions/export").text().contains("global"));
    let delete = |api: &Api, address: &str| api.call("DELETE", &format!("/v1/suppressions/{address}"), &[], b"").status;
    assert_eq!(
        ["s@x.test", "g@x.test"].map(|address| (bob.get(&format!("/v1/suppressions/{address}")).status, delete(&bob, address))),
        [(404, 404); 2]
    );
    assert_eq!(alice.post("/v1/messages", &draft("a@sender.test", TO)).status, 202);
    world.relay.log().wait_for("delivered", TO);
    assert_eq!((delete(&bob, TO), delete(&root, "s@x.test")), (204, 204));
}

#[test]
fn a_stream_is_named_by_those_who_list_it() {
    let streams = "stream.news.priority = 20\nstream.codes.priority = 30\nstream.lists.priority = 5\n";
    let more = "user.alice.stream = \"news\"\nuser.carol.streams = [\"codes\"]\nuser.dave.streams = [\"*\"]\nlisten.default.streams = [\"lists\"]\n";
    let (world, port) = start(&[("alice", ALL), ("bob", ALL), ("carol", ALL), ("dave", ALL)], &format!("{streams}{more}"));
    let named = |user: &str| {
        let api = Api::new(port, user);
        ["default", "news", "codes", "lists"].map(|stream| {
            let reply = api.post("/v1/messages", &json!({"from": "a@sender.test", "to": TO, "text": "x", "stream": stream}));
            reply.status == 202
        })
    };
    assert_eq!(named("alice"), [false, true, false, false]);
    assert_eq!(named("bob"), [true, false, false, false], "it may name the one that it has anyway");
    assert_eq!(named("carol"), [true, false, true, false]);
    assert_eq!(named("dave"), [true; 4]);
    let anonymous = ["default", "news", "codes", "lists"].map(|stream| {
        let text = format!("From: a@sender.test\r\nX-Posthaste-Stream: {stream}\r\n\r\nHello.\r\n");
        world.relay.submit(&Mail::raw("a@sender.test", &[TO], text.as_bytes())).code
    });
    assert_eq!(anonymous, [250, 550, 550, 250]);
    // By SMTP as by HTTP.
    let mut bob = client(&world);
    assert_eq!(by_token(&mut bob, "XOAUTH2", "bob", "bob").code, 235);
    let text = b"From: a@sender.test\r\nX-Posthaste-Stream: lists\r\n\r\nHello.\r\n";
    assert_eq!(
        bob.submit(&Mail::raw("a@sender.test", &[TO], text)).unwrap().code,
        550,
        "the listener's list is for those who are no users"
    );
}

#[test]
fn the_only_user_has_it_as_easy_as_ever_until_there_is_a_second() {
    let (world, port) = start(&[("only", ALL)], "stream.news.priority = 20\n");
    let only = Api::new(port, "only");
    let anonymous = world.relay.send(&Mail::new("x@sender.test", &[TO], "nobody's"));
    let named = || only.post("/v1/messages", &json!({"from": "a@sender.test", "to": TO, "text": "x", "stream": "news"})).status;
    let listed = |address: &str| only.call("PUT", &format!("/v1/suppressions/{address}"), &[], b"").json()["scope"].clone();
    let seen = |id: &str| only.get(&format!("/v1/messages/{id}")).status;
    assert_eq!((named(), listed("a@x.test"), seen(&anonymous)), (202, json!("global"), 200));

    world.relay.change_config(&config(port, &[("second", "second", ALL)]));
    world.relay.ok(["reload"]);
    assert_eq!((named(), listed("b@x.test"), seen(&anonymous)), (422, json!("user:only"), 404));
    let id = Api::new(port, "second").mail(&draft("b@sender.test", TO));

    // What another user submitted stays that one's when it is gone.
    world.relay.change_config("");
    world.relay.ok(["reload"]);
    assert_eq!((named(), listed("c@x.test"), seen(&anonymous), seen(&id)), (202, json!("global"), 200, 404));
}

#[test]
fn a_session_ends_as_the_user_it_began_as_or_not_at_all() {
    let world = listening(|relay| {
        for name in ["eve", "bob", "stays"] {
            add_user(relay, name, "pencil", &["--sender", "sender.test"]);
        }
        AUTH.to_owned()
    });
    let begin = |user: &str| {
        let mut client = client(&world);
        assert_eq!(client.say(&auth_plain(user, "pencil")).unwrap().code, 235);
        for line in ["MAIL FROM:<x@sender.test>", &format!("RCPT TO:<{TO}>")] {
            assert_eq!(client.say(line).unwrap().code, 250);
        }
        client
    };
    let mut half_way = ["eve", "bob", "stays"].map(begin);
    half_way.iter_mut().for_each(|client| assert_eq!(client.say("DATA").unwrap().code, 354));
    let mut idle = ["eve", "bob", "stays"].map(begin);
    world.relay.ok(["user", "remove", "eve"]);
    support::people::change_password(&world.relay, "bob", "crayon");
    world.relay.ok(["reload"]);
    let ends = half_way.each_mut().map(|client| {
        client.send(b"From: x@sender.test\r\n\r\nHello.\r\n.\r\n").unwrap();
        client.answer().unwrap().code
    });
    assert_eq!(ends, [421, 421, 250]);
    assert_eq!(idle.each_mut().map(|client| client.say("RCPT TO:<other@example.test>").unwrap().code), [421, 421, 250]);
    let accepted = world.relay.log().of("accepted", TO);
    assert_eq!(accepted.iter().map(|e| e["user"].as_str()).collect::<Vec<_>>(), [Some("stays")], "nothing was taken as nobody's");
    assert_eq!(client(&world).say(&auth_plain("bob", "crayon")).unwrap().code, 235);
}

#[test]
fn a_request_under_way_ends_with_its_token() {
    let (world, port) = start(&[("eve", ALL), ("other", ALL)], "");
    let body = draft("x@sender.test", TO).to_string();
    let mut connection = support::http::Connection::open(port).unwrap();
    let head = Api::new(port, "eve").head("POST", "/v1/messages", &[("Content-Type", "application/json")], body.len());
    connection.send(head.as_bytes()).unwrap();
    connection.send(&body.as_bytes()[..10]).unwrap();
    // The head has been read once the relay has answered a later request.
    assert_eq!(Api::new(port, "other").get("/v1/suppressions").status, 200);
    world.relay.change_config("user.eve.tokens = []");
    world.relay.ok(["reload"]);
    connection.send(&body.as_bytes()[10..]).unwrap();
    assert_eq!(connection.hear().unwrap().status, 401);
    assert!(world.relay.log().of("accepted", TO).is_empty());
}

#[test]
fn connections_opened_beforehand_give_no_more_guesses_and_no_login_after_the_ban() {
    let world = listening(|relay| {
        add_user(relay, "app", "pencil", &[]);
        format!("{AUTH}bans.failures = 3\nbans.delay = \"0s\"\nbans.exempt = []\n")
    });
    let mut clients: Vec<_> = (0..40).map(|_| client(&world)).collect();
    let mut late = client(&world);
    clients.iter_mut().for_each(|client| client.send(format!("{}\r\n", auth_plain("app", "pen")).as_bytes()).unwrap());
    let codes: Vec<_> = clients.iter_mut().map(|client| client.answer().unwrap().code).collect();
    assert_eq!([535, 421].map(|code| codes.iter().filter(|c| **c == code).count()), [3, 37]);
    assert_eq!(late.say(&auth_plain("app", "pencil")).unwrap().code, 421, "the right password comes too late");
}
