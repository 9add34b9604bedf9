//! Lanes: stopped, stepped back, behind their warm-up.

use support::{
    Act, Relay, Step,
    scene::{Scene, letter},
};

/// A source that warms up, at two providers: example.test has a name of its own, cousin.test has none.
fn warms(relay: &Relay) -> String {
    std::fs::write(relay.dir().join("providers.toml"), "[provider.example]\ndomains = [\"example.test\"]\n").unwrap();
    "delivery.providers = [\"providers.toml\"]\nsource.cold = { address = \"127.0.0.2\", warmup = \"mine\" }\npool.default.sources = [\"cold\"]\n\
     curve.mine = { caps = [20, 40, 80, 160], burst = 20, min_sample = 5, after = \"last\" }\n"
        .into()
}

#[test]
fn a_lane_that_its_provider_stops_is_an_incident() {
    let mut scene = Scene::start(|_| "rules.provider_refuses.enabled = false\n".into());
    scene.mx.script(|_, step| match step {
        Step::Rcpt(rcpt) if rcpt.ends_with("@example.test") => {
            Act::Say("554 5.7.1 Your IP address 192.0.2.1 is blocked, see a block list".into())
        }
        Step::Rcpt(_) => Act::Say("451 4.7.1 Greylisted, come back in five minutes".into()),
        _ => Act::Usual,
    });
    scene.send("default", "cousin.test", 1, 1);
    scene.send("default", "example.test", 1, 1);
    // Mail waits for it, so that a start finds the lane in its ledger.
    scene.relay.send(&letter("default", "sender.test", &["waits@example.test".into()]));
    let key = ("lane", "lane:default/example.test");
    scene.lives(key, &["Lane default/example.test sends nothing", "until"], "posthaste warmup resume default/example.test", 31, |scene| {
        assert!(scene.told("lane", "lane:default/cousin.test").is_empty(), "greylisting stops no lane");
        scene.mx.behave();
        scene.relay.ok(["warmup", "resume", "default/example.test", "--reason", "mended"]);
        scene.relay.log().wait_for("delivered", "waits@example.test");
    });
}

#[test]
fn a_lane_that_steps_back_is_an_incident_for_a_day() {
    let mut scene = Scene::start(warms);
    scene.send("default", "example.test", 1, 0);
    scene.send("default", "cousin.test", 1, 0);
    scene.relay.ok(["warmup", "advance", "cold/example", "--reason", "a trial"]);
    scene.mx.script(|_, step| match step {
        Step::Rcpt(_) => Act::Say("554 5.7.1 Your IP address 127.0.0.2 is blocked, see a block list".into()),
        _ => Act::Usual,
    });
    // On its first stage a lane is stopped, and has no stage to step back to.
    scene.send("default", "cousin.test", 1, 1);
    scene.send("default", "example.test", 1, 1);
    scene.opened("lane", "lane:cold/cousin.test");
    scene.relay.ok(["warmup", "resume", "cold/cousin.test", "--reason", "mended"]);
    scene.relay.ok(["warmup", "resume", "cold/example", "--reason", "mended"]);
    scene.looked();
    let detail = |scene: &Scene, key: &str| scene.shown("lane", key)[0]["detail"].as_str().unwrap().to_owned();
    let told = detail(&scene, "lane:cold/example");
    assert!(told.contains("Lane cold/example stepped back from stage 2 to 1") && told.contains("the address is blocked"), "{told}");
    assert!(!detail(&scene, "lane:cold/cousin.test").contains("stepped back"));
    scene.lives(("lane", "lane:cold/example"), &[], "posthaste", 25 * 60, |_| ());
}

#[test]
fn a_lane_that_misses_a_day_of_its_warm_up_is_an_incident() {
    let mut scene = Scene::start(warms);
    scene.send("default", "example.test", 6, 0);
    scene.send("default", "cousin.test", 6, 0);
    scene.silent("lane", "lane:cold/example");
    scene.pass(24 * 60);
    let cause = ["Lane cold/example missed a day of its warm-up", "the provider took 6 recipients of the 20"];
    let key = ("lane", "lane:cold/example");
    // Whoever holds the lane on its stage does not want it to move.
    scene.lives(key, &cause, "posthaste warmup hold cold/example", 31, |scene| {
        assert!(scene.told("lane", "lane:cold/cousin.test").is_empty(), "few providers without a name get that much mail");
        scene.relay.ok(["warmup", "hold", "cold/example", "--reason", "it is the weekend"]);
    });
}
