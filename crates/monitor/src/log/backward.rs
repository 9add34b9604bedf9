//! Reads the log from its end, for whoever wants the last lines that fit.

use std::{fs::File, io, ops::ControlFlow, os::unix::fs::FileExt, path::Path};

use jiff::Timestamp;
use memchr::memrchr;

use super::{
    LogError,
    files::{self, LogFile},
    reader::{LINE_MAX, Lines, OpenFile},
};

/// How much is read at once.
const BLOCK: u64 = 256 << 10;

/// Where a reading from the end stops.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// After this many lines that fit.
    pub count: usize,
    /// At files that were rotated before this time.
    pub since: Option<Timestamp>,
    /// After this many bytes.
    pub bytes: u64,
}

impl Backward {
    /// The last `count` lines that fit, however far back they are.
    pub fn last(count: usize) -> Self {
        Self { count, since: None, bytes: u64::MAX }
    }
}

impl Lines {
    /// The last lines that `fits` picks, oldest first, and a reader of what follows them.
    ///
    /// # Errors
    /// The disk fails.
    pub fn last(dir: &Path, stop: Backward, mut fits: impl FnMut(&[u8]) -> bool) -> Result<(Vec<Vec<u8>>, Self), LogError> {
        let mut files = files::list(dir)?;
        let mut newest = files.last().map(OpenFile::open).transpose()?.flatten();
        let mut end = None;
        if let Some(open) = &mut newest {
            let behind = open.end_of_lines()?;
            open.seek(behind)?;
            end = Some(behind);
        }
        let (mut found, mut left) = (Vec::new(), stop.bytes);
        let mut look = |line: &[u8]| {
            if fits(line) {
                found.push(line.to_vec());
            }
            if found.len() < stop.count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let wanted = |file: &LogFile| match (file.rotated, stop.since) {
            (Some(rotated), Some(since)) => rotated.as_second() + 1 >= since.as_second(),
            _ => true,
        };
        while let Some(file) = files.pop().filter(|file| wanted(file) && left > 0 && stop.count > 0) {
            let mut read = |file: &LogFile| -> io::Result<_> {
                let open = File::open(&file.path)?;
                let end = end.take().map_or_else(|| open.metadata().map(|meta| meta.len()), Ok)?;
                backward(&open, end, &mut left, &mut look)
            };
            match read(&file) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break,
                // It was deleted since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(LogError::io("read", &file.path)(error)),
            }
        }
        found.reverse();
        Ok((found, Self::behind(dir, newest)))
    }
}

/// Shows the lines of a file that end at `end` or before it, the last one first.
fn backward(file: &File, mut end: u64, left: &mut u64, look: &mut impl FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<ControlFlow<()>> {
    // The end of a line whose beginning is still to be read.
    let mut tail = Vec::new();
    while end > 0 && *left > 0 {
        let start = end.saturating_sub(BLOCK);
        let length = end - start;
        let mut block = vec![0; usize::try_from(length).unwrap_or_default()];
        file.read_exact_at(&mut block, start)?;
        block.append(&mut tail);
        (end, *left) = (start, left.saturating_sub(length));
        let mut rest = &block[..];
        loop {
            let line = rest.strip_suffix(b"\n").unwrap_or(rest);
            let begin = match memrchr(b'\n', line) {
                Some(at) => at + 1,
                // A line longer than this is damage, and is shown in pieces.
                None if start == 0 || line.len() as u64 >= LINE_MAX => 0,
                None => break,
            };
            if !line.is_empty() && look(&line[begin..]).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            rest = &rest[..begin];
            if rest.is_empty() {
                break;
            }
        }
        tail = rest.to_vec();
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::CURRENT;

    fn texts(lines: &[Vec<u8>]) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8(line.clone()).unwrap()).collect()
    }

    #[test]
    fn the_last_lines_that_fit_are_found_over_all_files_and_what_follows_is_read_on() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("delivery-20260824T100010Z-1.log"), "b1\nb2\n").unwrap();
        fs::write(at("delivery-20260825T100010Z-2.log"), "d1\nb3\nd2\n").unwrap();
        fs::write(at(CURRENT), "d3\nd4\nhalf a li").unwrap();
        let last = |count, since: Option<&str>| {
            let stop = Backward { since: since.map(|time| time.parse().unwrap()), ..Backward::last(count) };
            Lines::last(dir.path(), stop, |line| line.starts_with(b"b")).unwrap()
        };
        assert_eq!(texts(&last(2, None).0), ["b2", "b3"]);
        assert_eq!(texts(&last(9, None).0), ["b1", "b2", "b3"]);
        assert_eq!(texts(&last(9, Some("2026-08-25T00:00:00Z")).0), ["b3"]);
        assert_eq!(texts(&last(0, None).0), [""; 0]);
        let (_, mut follow) = last(1, None);
        assert!(follow.next_line().unwrap().is_none());
        fs::write(at(CURRENT), "d3\nd4\nhalf a line\nb4\n").unwrap();
        assert_eq!(follow.next_line().unwrap().unwrap().bytes, b"half a line");
        assert_eq!(follow.next_line().unwrap().unwrap().bytes, b"b4");
    }

    #[test]
    fn it_looks_no_further_back_than_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let text = "b\n".to_owned() + &"d\n".repeat(usize::try_from(BLOCK).unwrap()) + "b\n";
        fs::write(dir.path().join(CURRENT), text).unwrap();
        let last = |bytes| Lines::last(dir.path(), Backward { bytes, ..Backward::last(9) }, |line| line == b"b").unwrap().0.len();
        assert_eq!([last(1), last(BLOCK), last(u64::MAX)], [1, 1, 2]);
    }

    proptest! {
        #[test]
        fn backward_shows_every_line_once(lines in prop::collection::vec("[a-z]{1,9}", 0..40), wide in 0_usize..3) {
            let dir = tempfile::tempdir().unwrap();
            let pad = "x".repeat(wide * 150_000);
            let lines: Vec<String> = lines.iter().map(|line| format!("{line}{pad}")).take(if wide > 0 { 6 } else { 40 }).collect();
            fs::write(dir.path().join(CURRENT), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
            let (found, _) = Lines::last(dir.path(), Backward::last(usize::MAX), |_| true).unwrap();
            prop_assert_eq!(texts(&found), lines);
        }
    }
}
