//! House rules that a compiler does not know.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use self::{circles::circles, imports::Imports};

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/deny.rs"]
mod deny;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/modules.rs"]
mod modules;
#[path = "tidy/prints.rs"]
mod prints;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn manifest(path: &Path) -> Table {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).parse().unwrap()
}

/// Our own crates, the lowest first, with what each may use. Arrows lead only upwards in this list: to rows before.
/// A crate that is planned has its row already.
const MAY_USE: &[(&str, &str)] = &[
    // Level 0: words, rules and the machine; they know nothing of ours.
    ("mail", ""),
    ("dkim", ""),
    ("governor", ""),
    ("host", ""),
    // Level 1: one subject each.
    ("bounce", "mail"),
    ("smtp", "mail"),
    ("spool", "mail"),
    ("route", "mail"),
    ("monitor", "mail"),
    ("message", "mail"),
    ("dsn", "mail"),
    // Level 2: the rooms of the relay.
    ("doctor", "mail dkim route"),
    ("journal", "mail monitor host"),
    ("tallies", "mail monitor"),
    ("channels", "mail host journal smtp"),
    ("findings", "mail tallies"),
    ("watch", "mail monitor tallies findings journal host"),
    ("verp", "mail message host"),
    ("suppression", "mail bounce spool"),
    ("feedback", "mail governor bounce route"),
    ("queue", "mail governor bounce route smtp message feedback"),
    ("guard", "mail smtp spool findings queue journal host"),
    ("access", "mail smtp spool message host journal"),
    ("certificates", "mail host journal"),
    ("signing", "mail dkim route message queue journal host"),
    ("warmup", "mail governor bounce monitor feedback queue"),
    ("delivery", "mail governor bounce route smtp spool message queue suppression verp journal host"),
    // Level 3: the doors.
    ("submission", "mail smtp spool message queue guard access signing suppression certificates journal host"),
    ("returns", "mail dkim bounce governor monitor smtp spool route dsn queue suppression verp submission journal host"),
    ("http", "access certificates journal host"),
    ("api", "mail governor monitor tallies findings watch smtp spool queue guard message access suppression submission http host"),
    // Level 4 makes the settings of the rooms, and puts the rooms together.
    ("config", ALL_BEFORE),
    ("relay", ALL_BEFORE),
    // Level 5: what stands before the relay: the page and the commands.
    ("web", ALL_BEFORE),
    ("cli", ALL_BEFORE),
];
const ALL_BEFORE: &str = "all rows before";

/// What a row allows, by the names of crates.
fn allowed_to(row: usize) -> BTreeSet<&'static str> {
    let before: BTreeSet<_> = MAY_USE[..row].iter().map(|(name, _)| *name).collect();
    let (name, words) = MAY_USE[row];
    if words == ALL_BEFORE {
        return before;
    }
    let allowed: BTreeSet<_> = words.split(' ').filter(|word| !word.is_empty()).collect();
    assert!(allowed.is_subset(&before), "{name} may only use crates of rows before its own: {words}");
    allowed
}

/// Dev-dependencies on crates that MAY_USE does not allow. They may point up, because a test may put rooms together as the program does; each
/// is listed here, so that no new one comes unseen.
const TESTS_MAY_USE: &[(&str, &str)] =
    &[("api", "config"), ("channels", "monitor"), ("http", "mail monitor"), ("warmup", "config host relay")];

/// Our own crates in a table of this crate's manifest: `dependencies` or `dev-dependencies`.
fn dependencies(name: &str, table: &str) -> BTreeSet<String> {
    // A crate is known by its folder: `posthaste` is in crates/cli.
    let folder = |dependency: &Value| dependency.get("path")?.as_str()?.rsplit('/').next().map(str::to_owned);
    let workspace = manifest(&root().join("Cargo.toml"));
    let shared = &workspace["workspace"]["dependencies"];
    let manifest = manifest(&root().join("crates").join(name).join("Cargo.toml"));
    let used = manifest.get(table).and_then(Value::as_table);
    used.into_iter().flatten().filter_map(|(key, own)| folder(own).or_else(|| folder(shared.get(key)?))).collect()
}

#[test]
fn crates_depend_downwards_only() {
    for name in names(&root().join("crates")) {
        let row = MAY_USE.iter().position(|(crate_name, _)| *crate_name == name);
        let row = row.unwrap_or_else(|| panic!("crates/{name} is new: say in MAY_USE on what it may depend"));
        let allowed = allowed_to(row);
        let used = dependencies(&name, "dependencies");
        let wrong: Vec<_> = used.iter().filter(|other| !allowed.contains(other.as_str())).collect();
        assert!(wrong.is_empty(), "crates/{name} depends on {wrong:?}; it may depend on {allowed:?}");
        let unused: Vec<_> = allowed.into_iter().filter(|other| !used.contains(*other)).collect();
        assert!(unused.is_empty() || MAY_USE[row].1 == ALL_BEFORE, "crates/{name} does not depend on {unused:?}, which MAY_USE allows");
    }
}

#[test]
fn dev_dependencies_that_point_up_are_known() {
    for name in names(&root().join("crates")) {
        let row = MAY_USE.iter().position(|(crate_name, _)| *crate_name == name).expect("each crate has a row");
        let allowed = allowed_to(row);
        let up: BTreeSet<String> =
            dependencies(&name, "dev-dependencies").into_iter().filter(|other| !allowed.contains(&**other)).collect();
        let known = TESTS_MAY_USE.iter().find(|(crate_name, _)| *crate_name == name).map_or("", |(_, words)| words);
        let known: BTreeSet<String> = known.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        assert_eq!(up, known, "the tests of crates/{name}: say in TESTS_MAY_USE which rooms they put together");
    }
}

/// In percent of all lines in `src` folders.
const CRATE_MAX: usize = 12;

#[test]
fn no_crate_has_more_than_12_percent_of_the_lines() {
    let lines = |name: &String| {
        let mut files = Vec::new();
        rust_files(&root().join("crates").join(name).join("src"), &mut files);
        files.iter().map(|path| fs::read_to_string(path).unwrap().lines().count()).sum::<usize>()
    };
    let mut sizes: Vec<(usize, String)> = names(&root().join("crates")).into_iter().map(|name| (lines(&name), name)).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let all: usize = sizes.iter().map(|(lines, _)| lines).sum();
    let list: Vec<_> = sizes.iter().map(|(lines, name)| format!("{lines:6} lines, {:4.1} %: {name}", percent(*lines, all))).collect();
    let largest = sizes.first().expect("there are crates").0;
    assert!(largest * 100 <= all * CRATE_MAX, "more than {CRATE_MAX} % of the lines in one crate:\n{}", list.join("\n"));
}

fn percent(part: usize, of: usize) -> f64 {
    part as f64 * 100.0 / of as f64
}

/// Sees the names that a file imports or writes as paths (`use`, `crate::a::B`), looked through re-exports; code that only tests compile is
/// left out. It does not see methods: an `impl` of one type may be split over the files of one module folder, and such files may call each
/// other's methods without importing anything. They count as one room.
#[test]
fn no_files_import_each_other_in_a_circle() {
    let root = root();
    let crates: Vec<String> = names(&root.join("crates")).iter().map(|name| format!("crates/{name}")).collect();
    let imports = Imports::of_crates(crates.iter().map(String::as_str), &|path| fs::read_to_string(root.join(path)).ok());
    assert!(imports.files.len() > 100, "{} files: not all were found", imports.files.len());
    let found: Vec<String> = circles(&imports).iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{} circles of files\n\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_root_holds_only_what_belongs_there() {
    const BELONGS: [&str; 14] = [
        "Cargo.toml",
        "Cargo.lock",
        "crates",
        "config",
        "tests",
        "deploy",
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "clippy.toml",
        "deny.toml",
        "rustfmt.toml",
        // Made by building and running.
        "target",
        "posthaste-data",
    ];
    let strangers: Vec<_> = names(&root()).into_iter().filter(|n| !n.starts_with('.') && !BELONGS.contains(&n.as_str())).collect();
    assert!(strangers.is_empty(), "{strangers:?} do not belong into the root of the repository");
}

#[test]
fn every_dependency_says_why_it_is_here() {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, section) = text.split_once("\n[workspace.dependencies]\n").expect("the workspace has dependencies");
    let section = section.split("\n[").next().expect("split gives something");
    let mut explained = false;
    for line in section.lines() {
        match line.trim() {
            "" => explained = false,
            // "# --- mail" is a heading, and says why only of our own crates.
            comment if comment.starts_with('#') => explained = !comment.starts_with("# ---") || comment == "# --- our own",
            line => assert!(explained, "Cargo.toml: no comment says why: {line}"),
        }
    }
}

#[test]
fn nothing_is_left_undone_in_the_sources() {
    // Put together here so that this file does not find itself.
    let words = [["to", "do!("], ["unimpl", "emented!("], ["#[ig", "nore"], ["TO", "DO:"], ["FIX", "ME"]].map(|parts| parts.concat());
    let mut sources = Vec::new();
    for dir in ["crates", "tests"] {
        rust_files(&root().join(dir), &mut sources);
    }
    assert!(sources.len() > 100, "{} sources: not all were found", sources.len());
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let found = words.iter().find(|word| line.contains(word.as_str()));
            assert!(found.is_none(), "{}:{}: {}", path.display(), number + 1, line.trim());
        }
    }
}

#[test]
fn what_is_linked_is_what_deny_toml_allows() {
    let (deny, packages) = (manifest(&root().join("deny.toml")), deny::packages(&root()));
    assert!(packages.len() > 200, "{} packages: not all were found", packages.len());
    let found = deny::objections(&deny, &packages);
    assert!(found.is_empty(), "{}", found.join("\n"));
    // And it would find what is not allowed.
    let strange = |name: &str, license: Option<&str>, source: &str| {
        let package = deny::Package { name: name.into(), license: license.map(Into::into), source: Some(source.into()) };
        deny::objections(&deny, &[package]).into_iter().filter(|found| !found.starts_with("advisories")).count()
    };
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    assert_eq!(strange("good", Some("(MIT OR GPL-3.0-only) AND Unicode-3.0"), registry), 0);
    for license in
        [None, Some("GPL-3.0-only"), Some("MIT AND GPL-3.0-only"), Some("MIT AND (GPL-3.0-only"), Some("Apache-2.0 WITH x"), Some("")]
    {
        assert_eq!(strange("bad", license, registry), 1, "{license:?}");
    }
    assert_eq!(strange("fork", Some("MIT"), "git+https://github.com/somebody/fork#0123"), 1);
    assert_eq!(strange("openssl", Some("Apache-2.0"), registry), 1);
    assert_eq!(deny::objections(&deny, &[]).len(), 2, "an exception for a crate that is gone must go too");
}

#[test]
fn only_the_screen_prints() {
    let (crates, screen) = (root().join("crates"), root().join("crates/cli/src/screen.rs"));
    for name in names(&crates) {
        let mut sources = Vec::new();
        rust_files(&crates.join(&name).join("src"), &mut sources);
        for path in sources.iter().filter(|path| **path != screen) {
            let text = fs::read_to_string(path).unwrap();
            let found = prints::prints(&text);
            assert!(
                found.is_empty(),
                "{}: {found:?}: print by crates/cli/src/screen.rs, which filters what strangers wrote",
                path.display()
            );
        }
    }
    let text = fs::read_to_string(screen).unwrap();
    assert!(prints::prints(&text).len() >= 3, "the words that are looked for are those that print");
}

fn rust_files(dir: &Path, into: &mut Vec<PathBuf>) {
    for name in names(dir) {
        let path = dir.join(&name);
        if path.is_dir() {
            rust_files(&path, into);
        } else if name.ends_with(".rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_test_file_is_run() {
    let manifest = manifest(&root().join("tests/Cargo.toml"));
    let paths = manifest["test"].as_array().expect("tests are named").iter().map(|t| t["path"].as_str().unwrap().to_owned());
    let named: BTreeSet<String> = paths.collect();
    let there: BTreeSet<String> = names(&root().join("tests")).into_iter().filter(|n| n.ends_with(".rs")).collect();
    assert_eq!(named, there);
}

#[test]
fn every_fuzz_target_is_run() {
    let fuzz = root().join("tests/fuzz");
    let text = fs::read_to_string(fuzz.join("targets.rs")).unwrap();
    let (_, table) = text.split_once("TARGETS: ").expect("a table of targets");
    let table = table.split(';').nth(1).expect("it ends");
    let named: BTreeSet<String> = table.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    // `run` goes by the folders.
    assert_eq!(names(&fuzz.join("seeds")), named);
}
