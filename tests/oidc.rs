//! People log in to the page by an OpenID provider: a real one, in a process of its own.

use std::{fs, net::TcpListener};

use serde_json::{Value, json};
use support::{
    Relay,
    browser::Browser,
    certs::{authority_pem, certified_pem},
    http::Reply,
    openid::{OpenId, Surfer},
    people::add_user,
    relay::free_port,
    visitor::Visitor,
    wait,
};

/// The relay's secret at the provider, as it could stand in a log by mistake.
const SECRET_PART: &str = "s+c r";
const COOKIE: &str = "posthaste-login";

/// A relay whose page knows a provider, and a user with a password.
struct Scene {
    relay: Relay,
    provider: OpenId,
    port: u16,
}

impl Scene {
    fn start() -> Self {
        Self::with(&json!({}), |_| String::new())
    }

    fn with(provider: &Value, more: impl FnOnce(&Relay) -> String) -> Self {
        let port = free_port();
        Self::around(OpenId::start(port, provider), port, more)
    }

    fn around(provider: OpenId, port: u16, more: impl FnOnce(&Relay) -> String) -> Self {
        let mut relay = Relay::prepare("[run]\nlog_level = \"info\"\n");
        add_user(&relay, "carol", "correct horse", &["--role", "viewer"]);
        fs::write(relay.dir().join("oidc.secret"), format!("{}\n", OpenId::CLIENT.1)).unwrap();
        let more = more(&relay);
        relay.change_config(&(toml(&provider, port, "operators = [\"mail-ops\"]\nviewers = [\"staff\", \"support\"]") + &more));
        relay.run();
        Self { relay, provider, port }
    }

    fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Begins a login; returns where the provider would send the browser back to, for this account.
    #[track_caller]
    fn code(&self, surfer: &Surfer, account: &str, then: &str) -> String {
        let door = self.at(&format!("/login/oidc?then={then}"));
        let (form, answer) = surfer.follow(&door, surfer.get(&door), "/login/oidc/back");
        if form.contains("/login/oidc/back") {
            // The provider knows this browser.
            return form;
        }
        assert!(answer.status == 200 && answer.text().contains("Who are you?"), "{form}: {} {}", answer.status, answer.text());
        let answer = surfer.post(&form, &[("account", account)]);
        surfer.follow(&form, answer, "/login/oidc/back").0
    }

    /// Logs in; returns the answer to the last step.
    #[track_caller]
    fn login(&self, surfer: &Surfer, account: &str, then: &str) -> Reply {
        let back = self.code(surfer, account, then);
        assert!(back.contains("code="), "{back}");
        surfer.get(&back)
    }

    /// A browser in which somebody has logged in.
    #[track_caller]
    fn inside(&self, account: &str) -> Surfer {
        let surfer = Surfer::default();
        let answer = self.login(&surfer, account, "%2F");
        assert_eq!((answer.status, answer.header("location")), (303, "/"), "{}", answer.text());
        surfer
    }

    #[track_caller]
    fn is_inside(&self, surfer: &Surfer) -> bool {
        match surfer.get(&self.at("/")).status {
            200 => true,
            303 => false,
            status => panic!("{status}"),
        }
    }

    /// Whether it may have the relay read its configuration again.
    #[track_caller]
    fn may_steer(&self, surfer: &Surfer) -> bool {
        let page = surfer.get(&self.at("/")).text();
        let (_, rest) = page.split_once("name=\"form\" value=\"").expect("a form on the overview");
        let token = rest.split('"').next().unwrap();
        let answer = surfer.post(&self.at("/settings/reload"), &[("form", token)]);
        assert!(matches!(answer.status, 303 | 403), "{}", answer.text());
        answer.status == 303
    }

    /// Waits until an account is let in: the relay asks a provider that was in trouble again only after a pause.
    #[track_caller]
    fn until_let_in(&self, account: &str) -> Surfer {
        wait::until("the login", || {
            let (surfer, door) = (Surfer::default(), self.at("/login/oidc"));
            (surfer.get(&door).status == 303 && self.login(&surfer, account, "%2F").status == 303).then_some(surfer)
        })
    }

    /// Neither the log nor the diagnostics hold a secret, or whose mail address somebody has.
    #[track_caller]
    fn assert_nothing_leaked(&self) {
        let said = format!("{:?}{}", self.relay.log().events(), self.relay.stderr());
        for secret in [SECRET_PART, "s%2Bc", "@example.com", "code=", "eyJ"] {
            assert!(!said.contains(secret), "{secret} leaked: {said}");
        }
    }
}

fn toml(provider: &OpenId, port: u16, mapping: &str) -> String {
    format!(
        "http.address = \"127.0.0.1:{port}\"\n[http.oidc]\nissuer = \"{}\"\nclient_id = \"{}\"\nclient_secret_file = \"oidc.secret\"\n\
         base_url = \"http://127.0.0.1:{port}\"\nname = \"Example SSO\"\nscopes = [\"openid\", \"profile\", \"email\", \"groups\"]\n{mapping}\n",
        provider.issuer(),
        OpenId::CLIENT.0,
    )
}

#[test]
fn an_operator_steers_a_viewer_looks_and_who_has_no_role_is_told_why() {
    if !OpenId::have() {
        return;
    }
    let scene = Scene::start();
    let ask = scene.at("/login?then=%2Fqueue");
    let page = Surfer::default().get(&ask).text();
    assert!(page.contains("Log in with Example SSO") && page.contains("name=\"password\""), "both ways: {page}");
    for (account, role, steers) in [("ann", "operator", true), ("bob", "viewer", false)] {
        let surfer = Surfer::default();
        let answer = scene.login(&surfer, account, "%2Fqueue%3Fprovider%3Dgoogle");
        assert_eq!((answer.status, answer.header("location")), (303, "/queue?provider=google"), "{}", answer.text());
        let overview = surfer.get(&scene.at("/")).text();
        assert!(overview.contains(&format!("{account} · {role}")), "{overview}");
        assert_eq!(scene.may_steer(&surfer), steers, "{account}");
    }
    let stranger = Surfer::default();
    let refused = scene.login(&stranger, "zoe", "%2F");
    let said = refused.text();
    assert_eq!(refused.status, 403, "{said}");
    for part in ["Example SSO knows you as zoe", "<code>groups</code>", "&quot;mail-ops&quot;", "&quot;sales&quot;", "[http.oidc]"] {
        assert!(said.contains(part), "{part:?} is no part of {said}");
    }
    assert!(!scene.is_inside(&stranger));
    let told = scene.relay.stderr();
    assert!(told.contains("a login from 127.0.0.1 was refused") && told.contains("http.oidc.operators"), "{told}");
    assert!(!told.contains("zoe"), "who it was is nobody's business: {told}");
    assert!(!told.contains("/once?token="), "there are people who may log in: {told}");
    scene.assert_nothing_leaked();
}

#[test]
fn logging_out_ends_the_session_and_the_provider_may_open_another() {
    if !OpenId::have() {
        return;
    }
    let scene = Scene::start();
    let surfer = scene.inside("bob");
    let page = surfer.get(&scene.at("/")).text();
    let token = page.split_once("name=\"form\" value=\"").and_then(|(_, rest)| rest.split('"').next()).unwrap().to_owned();
    let old = surfer.cookie(scene.port, "posthaste").expect("a session");
    assert_eq!(surfer.post(&scene.at("/logout"), &[("form", &token)]).status, 303);
    assert!(!scene.is_inside(&surfer));
    let thief = Visitor::stranger(scene.port);
    assert_eq!(thief.ask("GET", "/", &[("Cookie", &format!("posthaste={old}"))], "").status, 303, "the cookie is worth nothing any more");
    assert_eq!(scene.login(&surfer, "bob", "%2F").status, 303);
    assert!(scene.is_inside(&surfer));
}

#[test]
fn an_answer_is_good_once_for_the_browser_and_the_login_that_it_is_for() {
    if !OpenId::have() {
        return;
    }
    let scene = Scene::start();
    let parts = |back: &str| {
        let of = |name: &str| back.split(['?', '&']).find_map(|part| part.strip_prefix(name)).unwrap().to_owned();
        (of("code="), of("state="), of("iss="))
    };
    let back = |code: &str, state: &str, iss: &str| scene.at(&format!("/login/oidc/back?code={code}&state={state}&iss={iss}"));
    let refused = |surfer: &Surfer, address: &str, status: u16, part: &str| {
        let answer = surfer.get(address);
        assert!(answer.status == status && answer.text().contains(part), "{address}: {} {}", answer.status, answer.text());
        assert!(!scene.is_inside(surfer), "{address}");
    };

    // A state that nobody knows, and none; then it is used up.
    let surfer = Surfer::default();
    let (code, state, iss) = parts(&scene.code(&surfer, "ann", "%2F"));
    refused(&surfer, &back(&code, "made-up", &iss), 400, "This login is over");
    refused(&surfer, &scene.at(&format!("/login/oidc/back?code={code}")), 400, "This login is over");
    assert_eq!(surfer.get(&back(&code, &state, &iss)).status, 303, "the right one is not spoilt by these");
    surfer.forget(scene.port);
    refused(&surfer, &back(&code, &state, &iss), 400, "This login is over");

    // A code that was used, and one of another login of the same browser: the provider holds it against the verifier.
    let (surfer, other) = (Surfer::default(), Surfer::default());
    let (_, fresh, iss) = parts(&scene.code(&surfer, "bob", "%2F"));
    refused(&surfer, &back(&code, &fresh, &iss), 403, "does not prove who you are");
    let (anns, ..) = parts(&scene.code(&other, "ann", "%2F"));
    let (_, fresh, iss) = parts(&scene.code(&surfer, "bob", "%2F"));
    refused(&surfer, &back(&anns, &fresh, &iss), 403, "does not prove who you are");

    // Another browser, with a cookie of its own or with none.
    for has_begun in [true, false] {
        let (hers, his) = (Surfer::default(), Surfer::default());
        let answer = scene.code(&hers, "ann", "%2F");
        if has_begun {
            scene.code(&his, "bob", "%2F");
            assert_ne!(hers.cookie(scene.port, COOKIE), his.cookie(scene.port, COOKIE));
        }
        refused(&his, &answer, 403, "began in another browser");
        refused(&hers, &answer, 400, "This login is over");
    }

    // A code that another provider gave, or that is nobody's any more (RFC 9207).
    let (code, state, _) = parts(&scene.code(&surfer, "bob", "%2F"));
    refused(&surfer, &back(&code, &state, "https%3A%2F%2Fevil.test"), 403, "does not prove who you are");
    let (code, state, _) = parts(&scene.code(&surfer, "bob", "%2F"));
    refused(&surfer, &scene.at(&format!("/login/oidc/back?code={code}&state={state}")), 403, "does not prove who you are");
    scene.assert_nothing_leaked();
}

#[test]
fn two_tabs_of_one_browser_both_log_in() {
    if !OpenId::have() {
        return;
    }
    let scene = Scene::start();
    let surfer = Surfer::default();
    let [one, other] = [(); 2].map(|()| scene.code(&surfer, "ann", "%2F"));
    assert_eq!((surfer.get(&other).status, surfer.get(&one).status), (303, 303));
}

#[test]
fn who_guesses_codes_is_kept_out_as_who_guesses_passwords() {
    if !OpenId::have() {
        return;
    }
    let scene = Scene::with(&json!({}), |_| "[bans]\nfailures = 3\ndelay = \"0s\"\nexempt = []\n".into());
    let surfer = Surfer::default();
    for _ in 0..3 {
        let back = scene.code(&surfer, "ann", "%2F");
        let (before, rest) = back.split_once("code=").unwrap();
        let forged = format!("{before}code=x{rest}");
        assert_eq!(surfer.get(&forged).status, 403);
    }
    let back = scene.code(&surfer, "ann", "%2F");
    assert_eq!(surfer.get(&back).status, 429, "though it is right");
    scene.relay.log().wait_for_relay("banned");
    let visitor = Visitor::stranger(scene.port);
    assert_eq!(visitor.post("/login", &[("user", "carol"), ("password", "correct horse")]).status, 429, "at this door, too");
}

#[test]
fn nobody_is_led_to_another_site() {
    if !OpenId::have() {
        return;
    }
    let scene = Scene::start();
    let surfer = Surfer::default();
    let long = format!("%2F{}", "x".repeat(2000));
    for then in ["https%3A%2F%2Fevil.test%2F", "%2F%2Fevil.test", "%2F%5Cevil.test", "evil.test", "%2Fa%0D%0AX-Y%3A+z", "", &long] {
        let answer = scene.login(&surfer, "ann", then);
        assert_eq!((answer.status, answer.header("location"), answer.header("x-y")), (303, "/", ""), "{then}");
    }
    let page = surfer.get(&scene.at("/login?then=%2Fqueue%22%3E%3Cscript%3E")).text();
    assert!(!page.contains("<script>"), "{page}");
}

#[test]
fn what_the_provider_says_instead_of_a_code_is_shown_and_not_obeyed() {
    if !OpenId::have() {
        return;
    }
    let scene = Scene::start();
    let (surfer, door) = (Surfer::default(), scene.at("/login/oidc"));
    let (form, _) = surfer.follow(&door, surfer.get(&door), "");
    let answer = surfer.post(&form, &[("no", "1")]);
    let (_, answer) = surfer.follow(&form, answer, "");
    let said = answer.text();
    assert!(answer.status == 403 && said.contains("Example SSO did not let you in") && said.contains("access_denied"), "{said}");
    assert!(said.contains("&lt;b&gt;no&lt;/b&gt;"), "{said}");
}

#[test]
fn while_the_provider_is_down_passwords_work_and_when_it_is_back_so_does_it() {
    if !OpenId::have() {
        return;
    }
    let port = free_port();
    let mut scene = Scene::around(OpenId::absent(port, &json!({})), port, |_| String::new());
    let down = |scene: &Scene| {
        let answer = Surfer::default().get(&scene.at("/login/oidc"));
        assert!(answer.status == 503 && answer.text().contains("Example SSO cannot be asked who you are"), "{}", answer.text());
        assert!(!answer.text().contains("localhost"), "strangers need not know where it is");
    };
    down(&scene);
    let said =
        wait::until("the reason", || Some(scene.relay.stderr()).filter(|said| said.contains("nobody can log in by the OpenID provider")));
    assert!(said.contains(&format!("{}/.well-known/openid-configuration", scene.provider.issuer())), "{said}");
    let carol = Visitor::login(scene.port, "carol", "correct horse");
    assert_eq!(carol.get("/").status, 200);
    scene.provider.come();
    let ann = scene.until_let_in("ann");
    // Whoever is inside stays inside without it; who comes back from it when it has gone is told.
    let bob = Surfer::default();
    let back = scene.code(&bob, "bob", "%2F");
    scene.provider.go();
    let answer = bob.get(&back);
    assert!(answer.status == 503 && answer.text().contains("cannot be asked who you are"), "{}", answer.text());
    assert!(scene.is_inside(&ann) && !scene.is_inside(&bob));
    scene.assert_nothing_leaked();
}

#[test]
fn a_provider_that_answers_with_nonsense_or_never_is_down() {
    if !OpenId::have() {
        return;
    }
    let page = free_port();
    // It takes connections, and says nothing.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let silent_one = OpenId::absent(page, &json!({ "issuer": format!("http://localhost:{port}") }));
    let scene = Scene::around(silent_one, page, |_| "timeout = \"300ms\"\n".into());
    assert_eq!(Surfer::default().get(&scene.at("/login/oidc")).status, 503);
    wait::until("the reason", || scene.relay.stderr().contains("no answer within 300ms").then_some(()));
    // The page itself answers, and not as a provider does.
    let other = toml(&scene.provider, page, "viewers = [\"staff\"]").replace(&format!("localhost:{port}"), &format!("127.0.0.1:{page}"));
    scene.relay.change_config(&other);
    scene.relay.ok(["reload"]);
    assert_eq!(Surfer::default().get(&scene.at("/login/oidc")).status, 503);
}

#[test]
fn a_reload_that_changes_who_is_who_ends_sessions_and_another_does_not() {
    if !OpenId::have() {
        return;
    }
    let scene = Scene::start();
    let (ann, bob) = (scene.inside("ann"), scene.inside("bob"));
    let reload = |toml: &str| {
        scene.relay.change_config(toml);
        scene.relay.ok(["reload"]);
    };
    let same = "operators = [\"mail-ops\"]\nviewers = [\"staff\", \"support\"]";
    reload(&toml(&scene.provider, scene.port, &format!("{same}\ntimeout = \"9s\"")));
    assert!(scene.is_inside(&ann) && scene.is_inside(&bob), "the mapping is the same");
    let (late, surfer) = (Surfer::default(), Surfer::default());
    let under_way = scene.code(&late, "ann", "%2F");
    reload(&toml(&scene.provider, scene.port, "operators = [\"sales\"]\nviewers = [\"mail-ops\"]"));
    assert!(!scene.is_inside(&ann) && !scene.is_inside(&bob));
    let answer = late.get(&under_way);
    assert!(answer.status == 400 && answer.text().contains("configuration has changed"), "{}", answer.text());
    assert!(scene.may_steer(&scene.inside("zoe")) && !scene.may_steer(&scene.inside("ann")));
    assert_eq!(scene.login(&surfer, "bob", "%2F").status, 403);
    let zoe = scene.inside("zoe");
    reload(&format!("http.address = \"127.0.0.1:{}\"\n", scene.port));
    assert!(!scene.is_inside(&zoe));
    let page = Surfer::default().get(&scene.at("/login")).text();
    assert!(page.contains("name=\"password\"") && !page.contains("Example SSO"), "{page}");
    assert_eq!(Surfer::default().get(&scene.at("/login/oidc")).status, 404);
    assert_eq!(Surfer::default().get(&scene.at("/login/oidc/back?code=x&state=y")).status, 404);
}

#[test]
fn a_key_that_the_provider_has_changed_is_picked_up() {
    if !OpenId::have() {
        return;
    }
    let mut scene = Scene::start();
    scene.inside("ann");
    scene.provider.go();
    scene.provider.come();
    scene.until_let_in("ann");
}

#[test]
fn claims_may_stand_in_the_token_and_a_client_needs_no_secret() {
    if !OpenId::have() {
        return;
    }
    let scene = Scene::with(&json!({ "in_id_token": true }), |_| String::new());
    assert!(scene.may_steer(&scene.inside("ann")));
    let secret = format!("client_id = \"{}\"\nclient_secret_file = \"oidc.secret\"", OpenId::CLIENT.0);
    let public =
        toml(&scene.provider, scene.port, "viewers = [\"staff\"]").replace(&secret, &format!("client_id = \"{}\"", OpenId::PUBLIC));
    assert!(public.contains(OpenId::PUBLIC) && !public.contains("oidc.secret"), "{public}");
    scene.relay.change_config(&public);
    scene.relay.ok(["reload"]);
    scene.inside("bob");
}

#[test]
fn a_wrong_secret_is_the_operators_trouble_and_not_the_persons() {
    if !OpenId::have() {
        return;
    }
    let scene = Scene::start();
    fs::write(scene.relay.dir().join("oidc.secret"), "another\n").unwrap();
    scene.relay.ok(["reload"]);
    let answer = scene.login(&Surfer::default(), "ann", "%2F");
    assert!(answer.status == 503 && answer.text().contains("does not answer this relay"), "{}", answer.text());
    wait::until("the reason", || {
        scene.relay.stderr().contains("does not accept the relay's client_id or client_secret_file").then_some(())
    });
}

#[test]
fn without_passwords_the_provider_is_the_only_way_and_no_link_is_printed() {
    if !OpenId::have() {
        return;
    }
    let scene = Scene::start();
    let carol = Visitor::login(scene.port, "carol", "correct horse");
    let config = toml(&scene.provider, scene.port, "operators = [\"mail-ops\"]");
    scene.relay.change_config(&format!("http.password_login = false\n{config}"));
    scene.relay.ok(["reload"]);
    assert_eq!(carol.get("/").status, 303, "a session by a password ends");
    let page = Surfer::default().get(&scene.at("/login")).text();
    assert!(!page.contains("name=\"password\"") && page.contains("Log in with Example SSO"), "{page}");
    let stranger = Visitor::stranger(scene.port);
    assert_eq!(stranger.post("/login", &[("user", "carol"), ("password", "correct horse")]).status, 403);
    scene.inside("ann");
    assert!(!scene.relay.stderr().contains("/once?token="));
}

#[test]
fn a_provider_inside_is_trusted_by_its_own_authority_alone() {
    if !OpenId::have() {
        return;
    }
    let folder = tempfile::TempDir::with_prefix("openid-").unwrap();
    let (certificate, key) = certified_pem("localhost");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("own.pem"), certificate).unwrap();
    fs::write(path("own.key"), key).unwrap();
    let scene = Scene::with(&json!({ "certificate": path("own.pem"), "key": path("own.key") }), |_| String::new());
    let door = scene.at("/login/oidc");
    assert_eq!(Surfer::default().get(&door).status, 503, "the system does not know it");
    wait::until("the reason", || scene.relay.stderr().contains("certificate").then_some(()));
    fs::write(scene.relay.dir().join("ca.pem"), authority_pem()).unwrap();
    scene.relay.change_config(&toml(&scene.provider, scene.port, "operators = [\"mail-ops\"]\nroots = \"ca.pem\""));
    scene.relay.ok(["reload"]);
    let answer = Surfer::default().get(&door);
    assert!(answer.status == 303 && answer.header("location").starts_with(scene.provider.issuer()), "{}", answer.text());
}

#[test]
fn in_a_browser_the_way_leads_to_the_provider_and_back_to_what_was_wanted() {
    if !OpenId::have() || !Browser::have() {
        return;
    }
    let scene = Scene::start();
    let browser = Browser::start();
    browser.open(&scene.at("/queue"));
    browser.until_shown("Log in with Example SSO");
    assert_eq!(browser.hurdles(), "", "for whoever sees or types with help");
    browser.find("a.button").click();
    browser.until_shown("Who are you?");
    assert!(browser.url().starts_with(scene.provider.issuer()), "{}", browser.url());
    browser.field("Account").fill("ann");
    browser.press("Go on");
    browser.until_shown("ann · operator");
    assert_eq!(browser.url(), scene.at("/queue"), "on to what was asked for, by a session whose cookie came along");
    let cookies = browser.cookies();
    assert!(cookies.iter().all(|cookie| cookie["httpOnly"] == true && cookie["sameSite"] == "Lax"), "{cookies:?}");
    browser.press("Log out");
    browser.until_shown("Log in with Example SSO");
}
