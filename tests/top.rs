//! `posthaste top`, at a pseudo terminal of util-linux's `script`: it shows what is so, obeys keys, and leaves the terminal as it was.

use std::{
    fs,
    io::{Read as _, Write as _},
    num::NonZeroU16,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;
use support::{
    Act, Mail, Relay, Step, World,
    relay::{binary, text},
    wait::until,
};

/// `posthaste top` at a terminal of 80 columns and 24 rows. The state of the terminal before and after it is in the files `before` and `after`,
/// its process id in `pid`, its status in `status`.
struct AtTerminal {
    script: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl AtTerminal {
    fn start(relay: &Relay, more: &str) -> Self {
        for file in ["before", "after", "pid", "status"] {
            let _ = fs::remove_file(relay.dir().join(file));
        }
        let script = format!(
            "stty cols 80 rows 24; stty -g >before; sh -c 'echo $$ >pid; exec {} top --every 1s {more}'; echo $? >status; stty -g >after",
            binary().display()
        );
        let mut terminal = Command::new("script");
        terminal.args(["-qec", &script, "/dev/null"]).current_dir(relay.dir()).env("POSTHASTE_CONFIG", relay.config_path());
        terminal.env("NO_COLOR", "1").env("TERM", "xterm").env_remove("RUST_LOG").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = terminal.spawn().expect("script, of util-linux");
        let (keys, mut out) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(Vec::new()));
        let to = shown.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut bytes) {
                to.lock().unwrap().extend_from_slice(&bytes[..n]);
            }
        });
        Self { script, keys, shown }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// What went to the terminal.
    fn bytes(&self) -> String {
        text(&self.shown.lock().unwrap())
    }

    /// The terminal, as somebody in front of it sees it.
    fn screen(&self) -> vt100::Screen {
        let [rows, columns] = [24, 80].map(|n| NonZeroU16::new(n).expect("it is not 0"));
        let mut terminal = vt100::Parser::new(rows, columns, 0);
        terminal.process(&self.shown.lock().unwrap());
        terminal.screen().clone()
    }

    /// Waits until this is seen.
    fn wait_for(&self, what: &str) {
        until(&format!("{what:?} at the terminal"), || self.screen().contents().contains(what).then_some(()));
    }

    /// Waits for the end; the terminal is as it was. Returns the status.
    fn ended(self, relay: &Relay) -> String {
        let read = |name: &str| fs::read_to_string(relay.dir().join(name)).ok().filter(|text| text.ends_with('\n'));
        let after = until("the end of posthaste top", || read("after"));
        assert_eq!(read("before").unwrap(), after, "the terminal's modes");
        let is_as_before = || Some(self.screen()).filter(|screen| !screen.alternate_screen() && !screen.hide_cursor()).map(drop);
        until("the usual screen with its cursor", is_as_before);
        let Self { mut script, keys, .. } = self;
        drop(keys);
        script.wait().unwrap();
        read("status").unwrap().trim().to_owned()
    }
}

fn world() -> World {
    let world = World::start("retry.schedule = [\"1h\"]");
    world.mx.script(|_, step| match step {
        Step::Rcpt("late@example.test") => Act::Say("451 4.7.1 later".into()),
        _ => Act::Usual,
    });
    world.relay.send(&Mail::new("", &["a@example.test", "late@example.test"], "one"));
    world.relay.log().wait_for("delivered", "a@example.test");
    world.relay.log().wait_for("deferred", "late@example.test");
    world
}

#[test]
fn it_shows_what_is_so_obeys_keys_and_leaves_the_terminal_as_it_was() {
    let world = world();
    let mut top = AtTerminal::start(&world.relay, "");
    top.wait_for("example.test");
    for part in ["takes and delivers mail", "1 later", "Providers (1)", "q quits"] {
        top.wait_for(part);
    }
    top.press("?");
    top.wait_for("sort providers");
    top.press("?/nobody\r");
    top.wait_for("filters: nobody");
    top.press("q");
    let colours = ["[31m", "[32m", "[33m", "[36m", "[38;", "[48;"].map(|colour| format!("\u{1b}{colour}"));
    assert!(!colours.iter().any(|colour| top.bytes().contains(colour.as_str())), "{:?}", top.bytes());
    assert_eq!(top.ended(&world.relay), "0");
}

#[test]
fn signals_end_it_and_the_terminal_is_as_it_was() {
    let world = world();
    for (signal, status) in [("TERM", "143"), ("HUP", "129"), ("INT", "130"), ("QUIT", "131")] {
        let top = AtTerminal::start(&world.relay, "");
        top.wait_for("Providers (1)");
        let pid = fs::read_to_string(world.relay.dir().join("pid")).unwrap();
        assert!(Command::new("kill").args([&format!("-{signal}"), pid.trim()]).status().unwrap().success());
        assert_eq!(top.ended(&world.relay), status, "{signal}");
    }
}

#[test]
fn a_relay_that_stops_is_said_and_one_that_comes_back_is_asked_again() {
    let mut world = world();
    let mut top = AtTerminal::start(&world.relay, "");
    top.wait_for("takes and delivers mail");
    world.relay.stop();
    top.wait_for("THE RELAY IS DOWN");
    top.wait_for("below is what was");
    world.relay.run();
    top.wait_for("takes and delivers mail");
    top.press("\u{3}");
    assert_eq!(top.ended(&world.relay), "0");
}

#[test]
fn where_there_is_no_terminal_it_prints_one_plain_frame_or_one_object() {
    let mut world = world();
    for arguments in [&["top"][..], &["top", "--once"]] {
        let frame = world.relay.ok(arguments);
        for part in ["takes and delivers mail", ": 0 due, 1 later", "Per second", "Incidents", "Providers (1)", "example.test"] {
            assert!(frame.contains(part), "{part:?} is not in {frame}");
        }
        assert!(!frame.contains('\u{1b}') && frame.lines().all(|line| line.chars().count() <= 80), "{frame}");
    }
    let told = world.relay.ok(["top", "--json"]);
    let top: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    assert_eq!((&top["queue"]["later"], &top["counted"]["delivered"], &top["counted"]["deferred"]), (&1.into(), &1.into(), &1.into()));
    let provider = &top["providers"][0];
    assert_eq!(
        (&provider["provider"], &provider["attempts"], &provider["refused"]),
        (&"example.test".into(), &2.into(), &1.into()),
        "{top}"
    );
    assert_eq!(top["minutes"].as_array().map(Vec::len), Some(30));
    world.relay.stop();
    let down = world.relay.cli(["top", "--once"]);
    assert!(!down.status.success() && text(&down.stderr).contains("no relay answers"), "{down:?}");
    let fast = world.relay.cli(["top", "--every", "10ms"]);
    assert!(text(&fast.stderr).contains("no span from 1s to 60s"), "{fast:?}");
}
