//! axe-core, which finds what keeps people from using a page. `tests/run` fetches it from npm, as `tests/pages/package-lock.json` fixes it.

use std::{fmt::Write, fs, path::PathBuf};

use serde_json::{Value, json};

use super::Browser;

/// WCAG 2.2, levels A and AA, as axe-core names its rules' tags.
const TAGS: [&str; 5] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
/// Impacts that nobody has to live with.
const SERIOUS: [&str; 2] = ["serious", "critical"];
/// Runs what the relay's policy does not let the page run itself; WebDriver may.
const RUN: &str = "const [source, tags, done] = arguments;
if (!window.axe) (0, eval)(source);
axe.run(document, { runOnly: { type: 'tag', values: tags }, rules: { 'target-size': { enabled: true } }, resultTypes: ['violations'] })
    .then(found => done(found.violations), error => done(String(error)));";

/// Where `tests/run` puts it: beside the programs that are tested.
pub fn path() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its file");
    // target/PROFILE/deps/TEST
    let target = test.ancestors().nth(3).expect("tests are built into target");
    target.join("axe/node_modules/axe-core/axe.min.js")
}

impl Browser {
    /// What axe-core finds in the page that is open and nobody should have to live with; empty if there is nothing.
    #[track_caller]
    pub fn hurdles(&self) -> String {
        let source = fs::read_to_string(path()).expect("axe-core is there");
        let found = self.eval_later(RUN, &[json!(source), json!(TAGS)]);
        let violations = found.as_array().unwrap_or_else(|| panic!("axe-core did not run: {found}"));
        let serious = violations.iter().filter(|violation| SERIOUS.iter().any(|impact| violation["impact"] == *impact));
        serious.map(told).collect()
    }
}

/// A violation, with where it is.
fn told(violation: &Value) -> String {
    let word = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().replace('\n', " ");
    let mut out = format!("{}, {}: {}\n", word(violation, "id"), word(violation, "impact"), word(violation, "help"));
    for node in violation["nodes"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "    {} {}\n        {}", node["target"], word(node, "html"), word(node, "failureSummary"));
    }
    out
}
