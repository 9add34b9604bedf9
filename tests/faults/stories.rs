//! What the delivery log says about each recipient.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use support::shim::WRITTEN_OVER;

use crate::receiver::serial;

/// What it says about one recipient.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    /// Lines that say it was accepted.
    pub(crate) accepted: usize,
    /// How it ended, each time.
    pub(crate) endings: Vec<String>,
    /// Lines about a bounce that came back later.
    pub(crate) late: usize,
}

/// Names of the events that end a recipient.
const ENDINGS: [&str; 5] = ["delivered", "bounced", "expired", "suppressed", "cancelled"];

/// All stories, by the recipients' numbers. No JSON is parsed, since there are tens of thousands of lines, and others may have damaged some.
pub(crate) fn read(log: &Path) -> HashMap<usize, Story> {
    let mut stories: HashMap<usize, Story> = HashMap::new();
    for bytes in files(log) {
        for line in String::from_utf8_lossy(&bytes).lines().filter(|line| is_whole(line)) {
            let Some((event, serial)) = value(line, "event").zip(value(line, "rcpt").and_then(serial)) else { continue };
            let story = stories.entry(serial).or_default();
            match event {
                "accepted" => story.accepted += 1,
                "late_bounced" => story.late += 1,
                _ if ENDINGS.contains(&event) => story.endings.push(event.to_owned()),
                _ => {}
            }
        }
    }
    stories
}

/// The recipients whose delivery is in the log.
pub(crate) fn delivered(stories: &HashMap<usize, Story>) -> impl Iterator<Item = usize> + '_ {
    stories.iter().filter(|(_, story)| story.endings.iter().any(|e| e == "delivered")).map(|(serial, _)| *serial)
}

/// Deliveries from the source that warms up, by the day of the budget that they used.
pub(crate) fn by_day(log: &Path) -> HashMap<String, usize> {
    let mut days = HashMap::new();
    for bytes in files(log) {
        for line in String::from_utf8_lossy(&bytes).lines().filter(|line| is_whole(line) && value(line, "event") == Some("delivered")) {
            if let Some(day) = value(line, "lane_day") {
                *days.entry(day.to_owned()).or_default() += 1;
            }
        }
    }
    days
}

/// Whether a line of that event about that recipient is near the end of the log.
pub(crate) fn ends_with(log: &Path, event: &str, rcpt: &str) -> bool {
    files(log).iter().any(|bytes| {
        let tail = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(256 << 10)..]).into_owned();
        tail.lines().rev().any(|line| value(line, "rcpt") == Some(rcpt) && value(line, "event") == Some(event))
    })
}

/// What the log's files say about these recipients, and of the relay itself, each line behind the number of its file in the order of names.
pub(crate) fn lines_about(log: &Path, serials: &HashSet<usize>) -> String {
    let mut told = String::new();
    for (number, bytes) in files(log).iter().enumerate() {
        for line in String::from_utf8_lossy(bytes).lines() {
            let about = value(line, "rcpt").and_then(serial);
            if about.is_some_and(|serial| serials.contains(&serial)) || value(line, "event") == Some("relay") {
                let _ = writeln!(told, "{number}: {line}");
            }
        }
    }
    told
}

/// What stands in the log's files. While they are read, the relay may begin a new one: then they are read again, or the lines of the last one would
/// be missing.
fn files(log: &Path) -> Vec<Vec<u8>> {
    let list = || -> BTreeMap<PathBuf, u64> {
        let files = fs::read_dir(log).into_iter().flatten().flatten();
        files.filter_map(|file| Some((file.path(), file.metadata().ok()?.ino()))).collect()
    };
    loop {
        let before = list();
        let read = before.keys().map(|file| fs::read(file).unwrap_or_default()).collect();
        if list() == before {
            return read;
        }
    }
}

/// False for what a power cut or others left of a line.
fn is_whole(line: &str) -> bool {
    line.starts_with('{') && line.ends_with('}') && !line.contains('\0') && !line.contains(WRITTEN_OVER)
}

/// A member's text; the log's lines have no blanks between members.
fn value<'a>(line: &'a str, member: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("\"{member}\":\""))?;
    rest.split('"').next()
}
