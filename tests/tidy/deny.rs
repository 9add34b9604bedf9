//! What `deny.toml` allows, as far as it can be checked without a network: `cargo deny` would ask for the advisories too.

use std::{collections::BTreeSet, path::Path, process::Command};

use serde_json::Value as Json;
use toml::{Table, Value};

/// A crate of others that is linked into the program or its tests.
pub(super) struct Package {
    pub(super) name: String,
    /// An SPDX expression.
    pub(super) license: Option<String>,
    /// None: one of our own.
    pub(super) source: Option<String>,
}

/// All packages that are built for this machine.
pub(super) fn packages(root: &Path) -> Vec<Package> {
    let host = Command::new("rustc").args(["--print", "host-tuple"]).output().expect("rustc is there");
    let host = String::from_utf8(host.stdout).expect("a target's name is text");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host.trim()]);
    let out = cargo.current_dir(root).output().expect("cargo is there");
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    let metadata: Json = serde_json::from_slice(&out.stdout).expect("cargo writes JSON");
    let built: BTreeSet<&str> =
        metadata["resolve"]["nodes"].as_array().into_iter().flatten().filter_map(|node| node["id"].as_str()).collect();
    let all =
        metadata["packages"].as_array().into_iter().flatten().filter(|package| package["id"].as_str().is_some_and(|id| built.contains(id)));
    let text = |package: &Json, key: &str| package[key].as_str().map(str::to_owned);
    let read = |package: &Json| Package {
        name: text(package, "name").expect("a package has a name"),
        license: text(package, "license"),
        source: text(package, "source"),
    };
    all.map(read).collect()
}

/// Everything in the packages that deny.toml does not allow, for people.
pub(super) fn objections(deny: &Table, packages: &[Package]) -> Vec<String> {
    let texts = |table: &str, key: &str| -> BTreeSet<String> {
        let list = deny[table].get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (licenses, registries) = (texts("licenses", "allow"), texts("sources", "allow-registry"));
    let banned = |name: &str| {
        let list = deny["bans"]["deny"].as_array().expect("bans.deny is a list");
        list.iter().any(|ban| ban["crate"].as_str() == Some(name) && ban.get("version").is_none())
    };
    let mut found = Vec::new();
    for package in packages {
        let name = &package.name;
        match &package.license {
            Some(license) if allowed(license, &licenses) => {}
            license => found.push(format!("{name}: its license {license:?} is not among licenses.allow")),
        }
        let registry = package.source.as_ref().map(|source| source.strip_prefix("registry+").unwrap_or(source));
        if registry.is_some_and(|registry| !registries.contains(registry)) {
            found.push(format!("{name}: comes from {registry:?}, which is not among sources.allow-registry"));
        }
        if banned(name) {
            found.push(format!("{name} is banned"));
        }
    }
    for ignored in deny["advisories"]["ignore"].as_array().into_iter().flatten() {
        // By custom a reason begins with the crate's name.
        let reason = ignored.get("reason").and_then(Value::as_str).unwrap_or_default();
        let about = reason.split(' ').next().unwrap_or_default();
        if !packages.iter().any(|package| package.name == about) {
            found.push(format!("advisories.ignore: {ignored}: its reason must begin with the name of a crate that is in use"));
        }
    }
    found
}

/// Whether an SPDX expression can be met with these licenses. "A/B" is how crates wrote "A OR B" once.
fn allowed(expression: &str, licenses: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ").replace(" WITH ", "+");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    either(&mut rest, licenses) && rest.is_empty()
}

fn either(words: &mut &[&str], licenses: &BTreeSet<String>) -> bool {
    let mut met = both(words, licenses);
    while let Some(("OR", rest)) = words.split_first().map(|(word, rest)| (*word, rest)) {
        *words = rest;
        met |= both(words, licenses);
    }
    met
}

fn both(words: &mut &[&str], licenses: &BTreeSet<String>) -> bool {
    let mut met = one(words, licenses);
    while let Some(("AND", rest)) = words.split_first().map(|(word, rest)| (*word, rest)) {
        *words = rest;
        met &= one(words, licenses);
    }
    met
}

fn one(words: &mut &[&str], licenses: &BTreeSet<String>) -> bool {
    let Some((word, rest)) = words.split_first() else { return false };
    *words = rest;
    if *word != "(" {
        return licenses.contains(&word.replace('+', " WITH "));
    }
    let met = either(words, licenses);
    let closed = words.first() == Some(&")");
    *words = words.get(1..).unwrap_or_default();
    met && closed
}
