//! The relay's files: private whatever the umask, and no way to root's rights for the user to whom they belong.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
};

use support::{Relay, relay::text};

/// Runs `posthaste` with these arguments; returns what it printed.
fn run(relay: &Relay, arguments: &[&str]) -> String {
    let mut program = relay.command(arguments);
    let out = program.stdin(std::process::Stdio::null()).output().unwrap();
    text(&out.stdout) + &text(&out.stderr)
}

/// Each path in a folder, with its mode, that has rights for others than its owner.
fn wide(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let meta = fs::symlink_metadata(folder).unwrap();
    if !meta.file_type().is_socket() && meta.mode() & 0o077 != 0 {
        found.push(format!("{:o} {}", meta.mode() & 0o7777, folder.display()));
    }
    if meta.is_dir() {
        found.extend(fs::read_dir(folder).unwrap().flat_map(|entry| wide(&entry.unwrap().path())));
    }
    found
}

#[test]
fn nothing_in_the_data_folder_is_for_others_whatever_the_umask() {
    // Of this process alone, and inherited by the programs that it starts.
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut relay = Relay::prepare("[returns]\ndomain = \"bounce.test\"\n");
    run(&relay, &["user", "add", "app", "--no-password"]);
    run(&relay, &["suppress", "add", "gone@example.com"]);
    relay.run();
    run(&relay, &["suppress", "add", "away@example.com"]);
    let data = relay.dir().join("data");
    assert_eq!(wide(&data), Vec::<String>::new());
    assert!(data.join("spool/index/db").exists() && data.join("log/delivery.log").exists(), "the files of libraries too");
    relay.stop();
    fs::set_permissions(data.join("users.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = run(&relay, &["check"]);
    assert!(said.contains(&format!("{} has mode 0644", data.join("users.toml").display())) && said.contains("chmod -R go="), "{said}");
    run(&relay, &["user", "remove", "app"]);
    assert_eq!(wide(&data), Vec::<String>::new(), "a changed file is private again");
}

#[test]
fn root_follows_no_link_in_a_data_folder_of_another_user() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut relay = Relay::prepare("[returns]\ndomain = \"bounce.test\"\n");
    fs::set_permissions(relay.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let (data, roots) = (relay.dir().join("data"), relay.dir().join("roots"));
    fs::create_dir_all(&roots).unwrap();
    fs::set_permissions(&roots, fs::Permissions::from_mode(0o755)).unwrap();
    let precious = roots.join("precious");
    fs::write(&precious, "root:hash:1\n").unwrap();
    fs::set_permissions(&precious, fs::Permissions::from_mode(0o600)).unwrap();
    let is_untouched = |what: &str| {
        let meta = fs::metadata(&precious).unwrap();
        assert_eq!(
            (fs::read_to_string(&precious).unwrap().as_str(), meta.uid(), meta.mode() & 0o777),
            ("root:hash:1\n", 0, 0o600),
            "{what}"
        );
        assert_eq!(fs::read_dir(&roots).unwrap().count(), 1, "{what}");
    };
    // Each of these names, as a link to a file of root's, to one that is not there, and to a folder of root's.
    let names = ["users.toml", "lock", "format", "verp.secret", "scram.secret", "rehearsal", "spool", "log", "dkim", "admin.sock"];
    let commands: [&[&str]; 8] = [
        &["user", "add", "bob", "--no-password"],
        &["suppress", "add", "gone@example.com"],
        &["suppress", "export"],
        &["audit"],
        &["log", "--all"],
        &["trace", "a@example.com"],
        &["warmup", "audit"],
        &["check"],
    ];
    for name in names {
        for target in [precious.clone(), roots.join("gift"), roots.clone()] {
            let _ = fs::remove_dir_all(&data);
            fs::create_dir(&data).unwrap();
            symlink(&target, data.join(name)).unwrap();
            chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
            std::os::unix::fs::lchown(data.join(name), Some(NOBODY), Some(NOBODY)).unwrap();
            for command in commands {
                let said = run(&relay, command);
                is_untouched(&format!("{command:?} with {name} → {}", target.display()));
                assert!(!said.contains("hash:1"), "{command:?} with {name}: {said}");
            }
        }
    }
    // Without links all goes well, and all files are the other user's.
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    for command in commands.into_iter().take(4) {
        run(&relay, command);
    }
    relay.run();
    relay.stop();
    let strangers = owners(&data).into_iter().filter(|(_, uid)| *uid != NOBODY).collect::<Vec<_>>();
    assert_eq!(strangers, []);
    assert!(data.join("users.toml").exists() && data.join("spool/segments").exists());
}

fn owners(path: &Path) -> Vec<(String, u32)> {
    let meta = fs::symlink_metadata(path).unwrap();
    let mut found = vec![(path.display().to_string(), meta.uid())];
    if meta.is_dir() {
        found.extend(fs::read_dir(path).unwrap().flat_map(|entry| owners(&entry.unwrap().path())));
    }
    found
}
