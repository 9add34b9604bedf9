//! What became of the file that the writer has open, decided from what the system says about it. Pure.

use super::disk::Seen;

/// The state of the open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// It still has the name `delivery.log`.
    pub(super) here: bool,
    /// What it holds.
    pub(super) content: Content,
}

/// What the open file holds, compared with what was written into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Just what was written.
    Whole,
    /// What was written, and this many bytes of somebody else's behind it.
    Longer(u64),
    /// Less than was written.
    Shorter,
    /// Something else: the bytes that were written last are not where they were.
    Overwritten,
}

impl Condition {
    /// Everything is as the writer left it.
    pub(super) const SOUND: Self = Self { here: true, content: Content::Whole };

    /// `named` is the file that has the name now, `held` the open one, `written` the length up to the last byte written, and `end_holds`
    /// tells whether the bytes before that place are those that were written.
    pub(super) fn judge(named: Option<Seen>, held: Seen, written: u64, end_holds: bool) -> Self {
        let content = match held.length.checked_sub(written) {
            None => Content::Shorter,
            Some(_) if !end_holds => Content::Overwritten,
            Some(0) => Content::Whole,
            Some(more) => Content::Longer(more),
        };
        Self { here: named.is_some_and(|named| named.identity == held.identity), content }
    }

    /// Whether every byte that was written is still in the open file.
    pub(super) fn is_complete(self) -> bool {
        matches!(self.content, Content::Whole | Content::Longer(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_judged_by_its_name_its_length_and_its_last_bytes() {
        let seen = |inode, length| Seen { identity: (1, inode), length, names: 1, modified: 0, regular: true };
        let judge = |named: Option<Seen>, length, end_holds| {
            let Condition { here, content } = Condition::judge(named, seen(7, length), 100, end_holds);
            (here, content)
        };
        assert_eq!(judge(Some(seen(7, 100)), 100, true), (true, Content::Whole));
        assert_eq!(judge(Some(seen(7, 130)), 130, true), (true, Content::Longer(30)));
        assert_eq!(judge(Some(seen(7, 99)), 99, false), (true, Content::Shorter));
        assert_eq!(judge(Some(seen(7, 100)), 100, false), (true, Content::Overwritten));
        assert_eq!(judge(Some(seen(8, 0)), 100, true), (false, Content::Whole));
        assert_eq!(judge(None, 0, true), (false, Content::Shorter));
    }
}
