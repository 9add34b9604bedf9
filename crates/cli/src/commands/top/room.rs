//! Who gets how many rows of a terminal: pure.

/// Rows for sections that want so many: each gets a few first, and what is left goes round.
pub(super) fn share<const N: usize>(mut left: usize, wanted: [usize; N]) -> [usize; N] {
    let mut given = [0; N];
    for at_most in [FIRST, usize::MAX] {
        let mut gave = true;
        while gave {
            gave = false;
            for (given, wanted) in given.iter_mut().zip(wanted) {
                if left > 0 && *given < wanted.min(at_most) {
                    (*given, left, gave) = (*given + 1, left - 1, true);
                }
            }
        }
    }
    given
}

/// So many rows each section has before another has more.
const FIRST: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_few_before_one_has_many_and_nobody_has_more_than_wanted() {
        assert_eq!(share(11, [1, 40, 40, 2]), [1, 4, 4, 2]);
        assert_eq!(share(5, [40, 40, 40, 40]), [2, 1, 1, 1]);
        assert_eq!(share(100, [1, 3, 0, 2]), [1, 3, 0, 2]);
        assert_eq!(share(0, [1, 3, 0, 2]), [0; 4]);
    }
}
