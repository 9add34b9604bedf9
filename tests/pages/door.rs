//! Who comes in, who stays out, and what each may do.

use support::{
    Relay,
    browser::Browser,
    pages::Place,
    relay::free_port,
    scene::Scene,
    town::{PEOPLE, settle},
    visitor::Visitor,
    wait,
};

const OPERATOR: (&str, &str, &str) = PEOPLE[0];
const VIEWER: (&str, &str, &str) = PEOPLE[1];

/// A relay with an operator and a viewer, and one incident.
fn scene() -> (Scene, u16) {
    scene_with("")
}

fn scene_with(more: &str) -> (Scene, u16) {
    let port = free_port();
    (
        Scene::start(|relay: &Relay| {
            settle(relay, &PEOPLE);
            format!("http.address = \"127.0.0.1:{port}\"\n{more}")
        }),
        port,
    )
}

/// The only incident: a piece in quarantine.
fn incident(scene: &Scene) -> String {
    let opened = scene.relay.log().wait_until("an incident", |event| event["event"] == "incident");
    opened["incident"].as_str().unwrap().to_owned()
}

#[test]
fn people_log_in_come_back_to_where_they_wanted_and_log_out() {
    if !Browser::have() {
        return;
    }
    let (scene, port) = scene();
    let (browser, place) = (Browser::start(), Place::new(&scene.relay, port));
    let (name, password, _) = OPERATOR;
    browser.open(&place.at("/queue"));
    browser.until_shown("Log in");
    assert!(!browser.text().contains("Warm-up"), "nothing is shown before: {}", browser.text());
    for (name, password) in [(name, "a wrong one"), ("nobody", password)] {
        browser.field("User").fill(name);
        browser.field("Password").fill(password);
        browser.press("Log in");
        browser.until_shown("User or password is wrong.");
        browser.expect_complaint("401");
    }
    browser.field("User").fill(name);
    browser.field("Password").fill(password);
    browser.press("Log in");
    browser.until_shown(name);
    assert_eq!(browser.url(), place.at("/queue"), "on to what was asked for");
    let cookies = browser.cookies();
    assert!(cookies.len() == 1 && cookies[0]["httpOnly"] == true && cookies[0]["sameSite"] != "None", "{cookies:?}");
    browser.press("Log out");
    browser.until_shown("Password");
    browser.open(&place.at("/queue"));
    assert!(browser.url().contains("/login"), "{}", browser.url());
}

#[test]
fn a_session_ends_with_the_logout_the_new_password_and_the_user() {
    let (scene, port) = scene();
    let (name, password, _) = VIEWER;
    let inside = |visitor: &Visitor| match visitor.get("/").status {
        200 => true,
        303 => false,
        status => panic!("{status}"),
    };
    let leaver = Visitor::login(port, name, password);
    let token = leaver.token();
    assert!(inside(&leaver));
    assert_eq!(leaver.post("/logout", &[("form", "not this one")]).status, 403);
    assert!(inside(&leaver), "another site logs nobody out");
    assert_eq!(leaver.post("/logout", &[(token.0, &token.1)]).status, 303);
    assert!(!inside(&leaver), "the cookie is worth nothing any more");
    let stays = Visitor::login(port, name, password);
    support::people::change_password(&scene.relay, name, "another one that is long");
    scene.relay.ok(["reload"]);
    assert!(!inside(&stays), "who has the old password is out");
    let last = Visitor::login(port, name, "another one that is long");
    scene.relay.ok(["user", "remove", name]);
    scene.relay.ok(["reload"]);
    assert!(!inside(&last), "who is no user is out");
    assert_eq!(last.ask("GET", "/", &[("x-posthaste-news", "1")], "").status, 401, "the page's script hears it too");
}

#[test]
fn when_the_last_user_has_gone_a_link_that_logs_in_once_is_printed() {
    let (scene, port) = scene();
    assert!(!scene.relay.stderr().contains("/once?token="));
    for (name, ..) in PEOPLE {
        scene.relay.ok(["user", "remove", name]);
    }
    scene.relay.ok(["reload"]);
    let page = Visitor::stranger(port).get("/login").text();
    assert!(page.contains("a link that logs in once stands in what"), "{page}");
    let printed = wait::until("the link", || Some(scene.relay.stderr()).filter(|said| said.contains("/once?token=")));
    let (_, rest) = printed.rsplit_once("/once?token=").unwrap();
    let token = rest.split(' ').next().unwrap();
    let answer = Visitor::stranger(port).get(&format!("/once?token={token}"));
    assert!(answer.status == 303 && answer.header("set-cookie").contains("HttpOnly"), "{answer:?}");
    assert_ne!(Visitor::stranger(port).get(&format!("/once?token={token}")).status, 303, "it logs in once");
}

#[test]
fn viewers_see_and_do_not_steer_and_no_other_site_steers_for_anybody() {
    let (scene, port) = scene();
    let incident = incident(&scene);
    let mute = format!("/incidents/{incident}/mute");
    let muted = || support::pages::incidents(&scene.relay).iter().any(|shown| shown["state"] == "muted");
    let reason = ("reason", "we know");
    let viewer = Visitor::login(port, VIEWER.0, VIEWER.1);
    let page = viewer.get("/").text();
    assert!(page.contains("quarantine") && !page.contains("/mute"), "seen, and without a button: {page}");
    let token = viewer.token();
    let answer = viewer.post(&mute, &[(token.0, &token.1), reason]);
    assert!(answer.status == 403 && answer.text().contains("viewer") && !muted(), "{}", answer.text());

    let operator = Visitor::login(port, OPERATOR.0, OPERATOR.1);
    let (theirs, own) = (token, operator.token());
    let own: (&str, &str) = (own.0, &own.1);
    for (what, headers, fields) in [
        ("no token", &[][..], vec![reason]),
        ("an empty token", &[], vec![("form", ""), reason]),
        ("another session's token", &[], vec![(theirs.0, &*theirs.1), reason]),
        ("another site", &[("Sec-Fetch-Site", "cross-site")], vec![own, reason]),
        ("a site beside", &[("Sec-Fetch-Site", "same-site")], vec![own, reason]),
        ("another origin", &[("Origin", "http://evil.test")], vec![own, reason]),
        ("an origin that hides", &[("Origin", "null")], vec![own, reason]),
    ] {
        let answer = operator.post_with(&mute, headers, &fields);
        assert!(answer.status == 403 && !muted(), "{what}: {} {}", answer.status, answer.text());
    }
    assert!(matches!(operator.get(&mute).status, 404 | 405) && !muted(), "no link changes anything");
    let answer = Visitor::stranger(port).post(&mute, &[own, reason]);
    assert!(matches!(answer.status, 401 | 303) && !muted(), "{}", answer.status);
    assert_eq!(operator.post(&mute, &[own, reason]).status, 303);
    assert!(muted(), "{:?}", support::pages::incidents(&scene.relay));
}

#[test]
fn who_guesses_passwords_is_kept_out_of_this_door_too() {
    let (scene, port) = scene_with("[bans]\nfailures = 3\ndelay = \"0s\"\nexempt = []\n");
    let stranger = Visitor::stranger(port);
    let guess = |password| stranger.post("/login", &[("user", OPERATOR.0), ("password", password)]).status;
    assert_eq!([(); 3].map(|()| guess("a guess")), [401; 3]);
    assert_eq!(guess(OPERATOR.1), 429, "though it is right");
    let banned = scene.relay.log().wait_for_relay("banned");
    assert!(banned["detail"].as_str().is_some_and(|detail| detail.contains("127.0.0.1")), "{banned}");
}

#[test]
fn every_answer_says_what_browsers_must_not_do_with_it() {
    let (_scene, port) = scene();
    let (stranger, viewer) = (Visitor::stranger(port), Visitor::login(port, VIEWER.0, VIEWER.1));
    let page = viewer.get("/").text();
    let assets: Vec<&str> = page.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(assets.len() >= 3, "{page}");
    let pages = ["/", "/?as=json", "/login", "/no-such-page", "/incidents/no-such-one", "/once?token=wrong", "/favicon.ico", "/mute"];
    for path in pages.iter().chain(&assets) {
        for answer in [stranger.get(path), viewer.get(path), viewer.post(path, &[]), viewer.ask("DELETE", path, &[], "")] {
            guarded(path, &answer, assets.contains(path));
        }
    }
    let mut connection = viewer.connect();
    connection.send(viewer.head("GET", "/live", &[], 0).as_bytes()).unwrap();
    let text = connection.head().unwrap();
    guarded("/live", &text, false);
    assert!(text.header("content-type").starts_with("text/event-stream"), "{text:?}");
}

/// What every answer carries; `kept`: it may be kept, since its name says what it holds.
fn guarded(what: &str, answer: &support::http::Reply, kept: bool) {
    let policy = answer.header("content-security-policy");
    let parts: Vec<&str> = policy.split(';').map(str::trim).collect();
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
        assert!(parts.contains(&part), "{what}: no {part} in {policy:?}: {}", answer.status);
    }
    assert!(!["unsafe", "http:", "https:", "data:", "*"].iter().any(|loose| policy.contains(loose)), "{what}: {policy:?}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    assert!(matches!(answer.header("referrer-policy"), "no-referrer" | "same-origin"), "{what}");
    let cache = answer.header("cache-control");
    assert!(
        cache.contains("no-store") || kept && answer.status == 200 && cache.contains("immutable"),
        "{what}: {cache:?} at {}",
        answer.status
    );
    if answer.status != 204 && !answer.body.is_empty() {
        assert!(answer.header("content-type").contains('/'), "{what}: {:?}", answer.headers);
    }
}
