//! The verifiers. Each takes samples and the DNS records, and answers for each sample whether all its signatures hold.

pub(crate) mod dkimpy;
pub(crate) mod mail_auth;
pub(crate) mod opendkim;

use std::path::Path;

/// A signed message, and whether its signatures should hold.
pub(crate) struct Sample {
    pub(crate) what: String,
    pub(crate) message: Vec<u8>,
    pub(crate) valid: bool,
    /// Verifiers that get it wrong.
    pub(crate) misjudged_by: &'static [&'static str],
}

/// A TXT record.
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Writes the samples as `0.eml`, `1.eml` … and the records as `records`: name, blank, text.
fn write_down(folder: &Path, samples: &[Sample], records: &[Record]) {
    for (number, sample) in samples.iter().enumerate() {
        std::fs::write(folder.join(format!("{number}.eml")), &sample.message).unwrap();
    }
    let lines: String = records.iter().map(|record| format!("{} {}\n", record.name, record.text)).collect();
    std::fs::write(folder.join("records"), lines).unwrap();
}

/// A second opinion that is not installed fails the test where everything must be, and is told of elsewhere.
fn absent(what: &str, package: &str) {
    let strict = std::env::var_os("CI").is_some() || std::env::var_os("POSTHASTE_TESTS_STRICT").is_some_and(|v| v == "1");
    assert!(!strict, "{what} is not installed: apt-get install {package}");
    eprintln!("NOT CHECKED: {what} is not installed (apt-get install {package})");
}
