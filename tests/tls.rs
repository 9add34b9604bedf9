//! TLS towards receivers: what the policy requires, what is used, and what the log records.

use std::path::Path;

use support::{
    Act, Mail, Relay, Step, Tls, World,
    certs::{authority_pem, certified, self_signed},
    wait,
};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";
const HOST: &str = "mx1.example.test";

fn send(world: &World) {
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
}

/// A world, and the file of roots that its relay needs while it runs.
struct Trusting {
    world: World,
    _roots: tempfile::NamedTempFile,
}

/// A relay that trusts the tests' authority.
fn trusting(extra: &str) -> Trusting {
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), authority_pem()).unwrap();
    Trusting { world: World::start(&format!("tls.roots = {:?}\n{extra}", roots.path())), _roots: roots }
}

/// The mail is deferred for this cause, and nothing was sent in plain text.
fn assert_kept(world: &World, cause: &str) {
    send(world);
    let event = world.relay.log().wait_for("deferred", TO);
    assert_eq!((&event["cause"], &event["class"], &event["smtp_stage"]), (&cause.into(), &"tls_failure".into(), &"starttls".into()));
    assert!(!world.mx.commands().iter().any(|c| c.starts_with("MAIL")));
}

#[test]
fn opportunistic_tls_takes_any_certificate_and_says_that_it_is_not_verified() {
    let post = trusting("");
    let world = &post.world;
    world.mx.tls(self_signed("other.test"));
    send(world);
    assert!(world.mx.wait_for(1)[0].tls);
    let event = world.relay.log().wait_for("delivered", TO);
    let facts = (&event["tls_version"], &event["tls_policy"], &event["tls_verified"], event.get("tls_fallback"));
    assert_eq!(facts, (&"TLSv1.3".into(), &"opportunistic".into(), &false.into(), None));
    assert!(event["tls_cipher"].as_str().unwrap().starts_with("TLS_"), "{event}");
    assert!(event["tls_ms"].is_u64());
}

#[test]
fn opportunistic_tls_says_when_the_certificate_was_good() {
    let post = trusting("");
    let world = &post.world;
    world.mx.tls(certified(HOST));
    send(world);
    assert_eq!(world.relay.log().wait_for("delivered", TO)["tls_verified"], true);
}

#[test]
fn a_receiver_without_tls_gets_plain_text_and_no_fallback_is_claimed() {
    let world = World::start("");
    send(&world);
    let event = world.relay.log().wait_for("delivered", TO);
    assert_eq!((event.get("tls_version"), event.get("tls_fallback")), (None, None));
    assert!(!world.mx.messages()[0].tls);
}

#[test]
fn the_policy_none_does_not_ask_for_tls() {
    let world = World::start("tls.policy = \"none\"");
    world.mx.tls(self_signed(HOST));
    send(&world);
    world.relay.log().wait_for("delivered", TO);
    assert!(!world.mx.commands().iter().any(|c| c == "STARTTLS"));
}

#[test]
fn verify_delivers_to_the_right_certificate() {
    let post = trusting("tls.policy = \"verify\"");
    let world = &post.world;
    world.mx.tls(certified(HOST));
    send(world);
    let event = world.relay.log().wait_for("delivered", TO);
    assert_eq!((&event["tls_verified"], &event["tls_policy"]), (&true.into(), &"verify".into()));
}

#[test]
fn verify_keeps_mail_from_a_certificate_that_nobody_vouches_for() {
    let post = trusting("tls.policy = \"verify\"");
    let world = &post.world;
    world.mx.tls(self_signed(HOST));
    assert_kept(world, "tls_failed");
}

#[test]
fn the_reason_is_kept_when_the_next_host_only_refuses_the_connection_and_it_says_what_to_do() {
    let post = trusting("retry.schedule = [\"1h\"]\ntls.policy = \"verify\"");
    post.world.mx.tls(self_signed(HOST));
    post.world.dns.mx("example.test", 20, "mx2.example.test").a("mx2.example.test", "127.0.0.9");
    send(&post.world);
    let event = post.world.relay.log().wait_for("deferred", TO);
    assert_eq!((&event["cause"], &event["mx_host"]), (&"tls_failed".into(), &HOST.into()), "{event}");
    let detail = event["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("the certificate of {HOST}")) && detail.contains("tls.roots"), "{detail}");
}

#[test]
fn verify_keeps_mail_from_the_certificate_of_another_host() {
    let post = trusting("tls.policy = \"verify\"");
    let world = &post.world;
    world.mx.tls(certified("mx2.example.test"));
    assert_kept(world, "tls_failed");
}

#[test]
fn verify_and_require_keep_mail_from_a_receiver_without_tls() {
    for policy in ["verify", "require"] {
        assert_kept(&World::start(&format!("tls.policy = \"{policy}\"")), "tls_required");
    }
}

#[test]
fn require_takes_any_certificate() {
    let post = trusting("tls.policy = \"require\"");
    let world = &post.world;
    world.mx.tls(self_signed("other.test"));
    send(world);
    assert_eq!(world.relay.log().wait_for("delivered", TO)["tls_policy"], "require");
    assert!(world.mx.messages()[0].tls);
}

#[test]
fn a_broken_handshake_falls_back_to_plain_text_and_the_log_says_so() {
    let world = World::start("");
    world.mx.tls(Tls::Broken);
    send(&world);
    let event = world.relay.log().wait_for("delivered", TO);
    assert!(event["tls_fallback"].as_str().unwrap().contains("handshake"), "{event}");
    assert_eq!((event.get("tls_version"), &event["attempt"]), (None, &1.into()));
    assert!(!world.mx.messages()[0].tls);
    assert_eq!(world.mx.sessions(), 2);
}

#[test]
fn a_broken_handshake_defers_where_falling_back_is_not_allowed() {
    let world = World::start("tls.fallback = false");
    world.mx.tls(Tls::Broken);
    assert_kept(&world, "tls_failed");
}

#[test]
fn starttls_that_is_announced_and_refused_is_a_fallback_too() {
    let world = World::start("");
    world.mx.tls(self_signed(HOST));
    world.mx.script(|_, step| if let Step::StartTls = step { Act::Say("454 4.7.0 no keys today".into()) } else { Act::Usual });
    send(&world);
    let event = world.relay.log().wait_for("delivered", TO);
    assert!(event["tls_fallback"].as_str().unwrap().contains("no keys today"), "{event}");
}

#[test]
fn starttls_that_is_announced_and_refused_defers_where_falling_back_is_not_allowed() {
    let world = World::start("tls.fallback = false");
    world.mx.tls(self_signed(HOST));
    world.mx.script(|_, step| if let Step::StartTls = step { Act::Say("454 4.7.0 no keys today".into()) } else { Act::Usual });
    send(&world);
    let event = world.relay.log().wait_for("deferred", TO);
    assert_eq!(event["smtp_stage"], "starttls");
    assert!(!world.mx.commands().iter().any(|c| c.starts_with("MAIL")));
}

#[test]
fn one_domain_may_have_rules_of_its_own() {
    let world = World::start("tls.domain.\"example.test\" = { policy = \"require\" }");
    world.dns.mx("cousin.test", 10, HOST);
    world.relay.send(&Mail::new(FROM, &[TO, "reader@cousin.test"], "one"));
    assert_eq!(world.relay.log().wait_for("delivered", "reader@cousin.test")["tls_policy"], "opportunistic");
    assert_eq!(world.relay.log().wait_for("deferred", TO)["cause"], "tls_required");
}

/// RFC 4616: NUL us NUL opensesame.
const PASSWORD: &str = "AUTH PLAIN AHVzAG9wZW5zZXNhbWU=";

/// A relay that sends everything to `world`'s receiver by its name, with a password.
fn with_password(world: &World, folder: &Path, more: &str) -> Relay {
    let password = folder.join("password");
    std::fs::write(&password, "opensesame\n").unwrap();
    let host = format!("{HOST}:{}", world.mx.port());
    let route = format!("hosts = [\"{host}\"], user = \"us\", password_file = {password:?}, {more}");
    let roots = folder.join("roots.pem");
    std::fs::write(&roots, authority_pem()).unwrap();
    support::world::relay(&world.dns, 1, &format!("tls.roots = {roots:?}\nroute.\"*\" = {{ {route} }}"))
}

/// How often the receiver heard the password.
fn heard(world: &World) -> usize {
    world.mx.commands().iter().filter(|c| *c == PASSWORD).count()
}

#[test]
fn a_smart_host_hears_the_password_under_a_valid_certificate_only() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start("");
    let relay = with_password(&world, folder.path(), "tls = \"require\"");
    assert!(relay.ok(["check"]).contains("caution: route.\"*\" has a password that needs a certificate"));
    world.mx.extensions(&["AUTH PLAIN"]);
    relay.send(&Mail::new(FROM, &[TO], "one"));
    assert_eq!(relay.log().wait_for("deferred", TO)["cause"], "tls_required");
    world.mx.tls(self_signed("other.test"));
    let deferred = wait::until("the certificate to be refused", || {
        relay.log().of("deferred", TO).into_iter().find(|event| event["cause"] == "tls_failed")
    });
    assert!(deferred["detail"].as_str().unwrap().contains("the password was not sent"), "{deferred}");
    assert_eq!(heard(&world), 0);
    world.mx.tls(certified(HOST));
    relay.log().wait_for("delivered", TO);
    assert_eq!(heard(&world), 1);
    assert!(world.mx.messages()[0].tls);
}

#[test]
fn a_route_may_say_in_so_many_words_that_its_password_needs_less() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start("");
    world.mx.extensions(&["AUTH PLAIN"]);
    let relay = with_password(&world, folder.path(), "password_needs = \"nothing\", tls = \"none\"");
    assert!(relay.ok(["check"]).contains("everybody on the network path can read it"));
    relay.send(&Mail::new(FROM, &[TO], "one"));
    relay.log().wait_for("delivered", TO);
    assert_eq!(heard(&world), 1);
}
