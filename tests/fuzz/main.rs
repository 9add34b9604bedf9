//! libFuzzer's entry point: passes its input to the target named by `POSTHASTE_FUZZ`. `tests/fuzz/run` builds and runs it.
#![no_main]

use std::sync::LazyLock;

mod targets;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("POSTHASTE_FUZZ").unwrap_or_default();
    let found = targets::TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("POSTHASTE_FUZZ={name:?}: {:?}", targets::TARGETS.map(|(known, _)| known))).1
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
