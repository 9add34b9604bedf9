//! Every file and folder of the data folder × what may happen to it: the relay starts and says what is lost, or refuses with one line that names the
//! file and the remedy. It is never silent about a loss, and never panics.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use support::{Act, Mail, Relay, Step, World, relay::text, wait};

const CONFIG: &str = r#"
retry.schedule = ["1h"]
log.rotate_size = "64 KiB"
returns.domain = "bounce.test"
report = { to = ["ops@example.org"], from = "me@sender.test", server = "127.0.0.1:9" }
"#;

type Harm = fn(&Path, &Path) -> bool;

/// What may happen to a file or folder, given its path and that of its older copy. False: it does not apply.
const HARMS: [(&str, Harm); 6] = [
    ("gone", |path, _| {
        let was_there = path.exists();
        if was_there {
            remove(path);
        }
        was_there
    }),
    ("of the wrong kind", |path, _| {
        let was_folder = path.is_dir();
        remove(path);
        if was_folder { fs::write(path, "x\n") } else { fs::create_dir(path) }.unwrap();
        true
    }),
    ("empty", |path, _| path.is_file() && fs::write(path, "").is_ok()),
    ("garbage", |path, _| path.is_file() && fs::write(path, [&b"\xff\xfe\0garbage"[..], &[0xa5; 5000]].concat()).is_ok()),
    ("cut", |path, _| {
        let length = fs::metadata(path).unwrap().len();
        path.is_file() && length > 1 && fs::File::options().write(true).open(path).unwrap().set_len(length / 2).is_ok()
    }),
    ("an older copy", |path, old| {
        path.is_file() && old.is_file() && fs::read(old).unwrap() != fs::read(path).unwrap() && fs::copy(old, path).is_ok()
    }),
];

/// Several at once.
const TOGETHER: [&[(&str, &str)]; 3] = [
    &[("log", "gone"), ("spool", "gone")],
    &[("log/delivery.log", "cut"), ("log/delivery.files", "gone")],
    &[("spool", "gone"), ("alarms.json", "gone")],
];

fn remove(path: &Path) {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
}

/// Copies a folder, without its sockets.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_file() {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Everything in a folder, by its path in it. What is in an index or a look-up table is the index's affair.
fn paths(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            found.push(path.strip_prefix(dir).unwrap().to_owned());
            if path.is_dir() && !path.ends_with("index") {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What a loss would change.
fn facts(relay: &Relay) -> (Value, String, String, String) {
    let queue: Value = serde_json::from_str(&relay.ok(["queue", "--json"])).unwrap();
    let audit = text(&relay.cli(["audit"]).stdout);
    (queue["counts"]["messages"].clone(), audit, relay.ok(["suppress", "export"]), relay.ok(["user", "list"]))
}

fn stands(relay: &Relay) -> bool {
    let standing: Value = serde_json::from_str(&relay.ok(["alarms", "--json"])).unwrap();
    !standing["alarms"].as_array().unwrap().is_empty()
}

/// A relay with all kinds of state, a copy of its data folder from before its last mail, and one from after it; it was stopped orderly or killed.
fn prepare(orderly: bool) -> (World, PathBuf, PathBuf) {
    let mut world = World::start(CONFIG);
    world.mx.script(|_, step| match step {
        Step::Rcpt(rcpt) if rcpt.starts_with("waits") => Act::Say("451 4.3.0 later".into()),
        _ => Act::Usual,
    });
    let relay = &mut world.relay;
    relay.spoilt();
    relay.ok(["user", "add", "app", "--no-password"]);
    relay.ok(["suppress", "add", "gone@example.test"]);
    for n in 0..60 {
        relay.send(&Mail::new("writer@sender.test", &[&format!("r{n}@example.test")], "delivered"));
    }
    relay.log().wait_for_many("delivered", "", 60);
    let [data, old, template] = ["data", "old", "template"].map(|name| relay.dir().join(name));
    relay.stop();
    copy(&data, &old);
    relay.run();
    relay.ok(["suppress", "add", "away@example.test"]);
    // The log is rotated once more, so that an older copy of its file holds lines that are in a rotated one.
    for n in 0..60 {
        relay.send(&Mail::new("writer@sender.test", &[&format!("s{n}@example.test")], "delivered"));
    }
    relay.log().wait_for_many("delivered", "", 120);
    for n in 0..5 {
        relay.send(&Mail::new("writer@sender.test", &[&format!("waits{n}@example.test")], "waits"));
    }
    relay.log().wait_for_many("deferred", "", 5);
    // The audit makes everything durable.
    relay.assert_balanced();
    if orderly {
        assert!(relay.stop().success());
    } else {
        relay.kill();
    }
    copy(&data, &template);
    (world, old, template)
}

/// Starts the relay on what is left. Returns what it said on refusing, or None if it runs.
fn start(relay: &mut Relay) -> Option<String> {
    let (before, port) = (relay.stderr().len(), relay.port());
    relay.spawn();
    let runs = wait::until("the relay to listen or to refuse", || {
        // The sockets are open before the data folder is looked at.
        let greets = || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            stream.read_exact(&mut [0; 3]).ok().map(|()| true)
        };
        relay.ended().map(|_| false).or_else(greets)
    });
    if !runs {
        assert!(!relay.wait().success());
    }
    (!runs).then(|| relay.stderr().split_off(before))
}

fn try_all(orderly: bool) {
    let (mut world, old, template) = prepare(orderly);
    let data = world.relay.dir().join("data");
    let restore = || {
        remove(&data);
        copy(&template, &data);
    };
    restore();
    world.relay.run();
    let right = facts(&world.relay);
    world.relay.kill();
    let single = paths(&template).into_iter().flat_map(|path| HARMS.map(|(name, _)| vec![(path.clone(), name)]));
    let together = TOGETHER.iter().map(|harms| harms.iter().map(|(path, name)| (PathBuf::from(path), *name)).collect());
    let mut tried = 0;
    for case in single.chain(together) {
        restore();
        let does = |(path, name): &(PathBuf, &str)| {
            let (_, harm) = HARMS.iter().find(|(known, _)| known == name).unwrap();
            harm(&data.join(path), &old.join(path)) || case.len() > 1
        };
        if !case.iter().all(does) {
            continue;
        }
        tried += 1;
        let what = format!("{case:?}, {}", if orderly { "stopped" } else { "killed" });
        let before = world.relay.stderr().len();
        match start(&mut world.relay) {
            Some(refusal) => {
                let named = |(path, _): &(PathBuf, &str)| refusal.contains(&*path.file_name().unwrap().to_string_lossy());
                assert!(case.iter().any(named) && !refusal.contains("panicked"), "{what}: {refusal}");
                let said: Vec<&str> = refusal.lines().filter(|line| line.starts_with("posthaste: ")).collect();
                assert_eq!(said.len(), 1, "{what}: {refusal}");
            }
            None => {
                let is_said = || (stands(&world.relay) || facts(&world.relay) == right).then_some(());
                assert!(wait::within(Duration::from_secs(10), is_said).is_some(), "{what}: {:?}", facts(&world.relay));
                world.relay.kill();
            }
        }
        let said = world.relay.stderr().split_off(before);
        assert!(!said.contains("panicked"), "{what}: {said}");
    }
    assert!(tried > 60, "{tried}");
}

/// What every file of a folder holds, indexes too.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut held, mut folders) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                held.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    held
}

fn replace(path: &Path, from: &str, to: &str) {
    let bytes = fs::read(path).unwrap();
    let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap_or_else(|| panic!("{}: {from}", path.display()));
    fs::write(path, [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()).unwrap();
}

/// Makes a file of another version.
type Writes = fn(&Path);

#[test]
fn a_file_of_another_version_stops_the_start_and_nothing_is_touched() {
    let (mut world, _, template) = prepare(true);
    let data = world.relay.dir().join("data");
    let later: [(&str, Writes); 8] = [
        ("format", |path| fs::write(path, "2\n").unwrap()),
        ("alarms.json", |path| fs::write(path, r#"{"v":2,"alarms":[]}"#).unwrap()),
        ("incidents.json", |path| fs::write(path, r#"{"version":2,"rules":{}}"#).unwrap()),
        ("incidents.json", |path| fs::write(path, r#"{"version":"1.1"}"#).unwrap()),
        ("channels.json", |path| fs::write(path, r#"{"v":2,"lanes":{"x":1}}"#).unwrap()),
        ("spool/clean", |path| replace(path, "PHCLEAN1", "PHCLEAN2")),
        ("log/delivery.log", |path| replace(path, r#","v":1,"#, r#","v":2,"#)),
        // SQLite's own number for its users, big-endian (fileformat2.html §1.3.19).
        ("tallies.db", |path| fs::File::options().write(true).open(path).unwrap().write_all_at(&[0, 0, 0, 2], 60).unwrap()),
    ];
    for (name, write) in later {
        remove(&data);
        copy(&template, &data);
        // The last line alone, so that it is the newest.
        if name == "log/delivery.log" {
            let text = fs::read_to_string(data.join(name)).unwrap();
            let last = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
            fs::write(data.join(name), &text[last..]).unwrap();
        }
        write(&data.join(name));
        let before = contents(&data);
        let refusal = start(&mut world.relay).unwrap_or_else(|| panic!("it started with another version of {name}"));
        let said: Vec<&str> = refusal.lines().filter(|line| line.starts_with("posthaste: ")).collect();
        assert!(said.len() == 1 && said[0].contains("version"), "{name}: {refusal}");
        let after = contents(&data);
        let changed: Vec<_> = before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
        assert!(changed.is_empty(), "{name}: {changed:?}");
    }
}

#[test]
fn whatever_happens_to_a_file_of_a_relay_that_was_killed_is_said_or_does_no_harm() {
    try_all(false);
}

#[test]
fn whatever_happens_to_a_file_of_a_relay_that_was_stopped_is_said_or_does_no_harm() {
    try_all(true);
}
