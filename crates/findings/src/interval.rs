//! The interval in which a rate lies, given how little was seen of it.

/// The 90th percentile of the normal distribution: one side of an interval that holds with 90 %.
const Z: f64 = 1.281_551_565_544_600_4;

/// The lower end of the one-sided 90 % interval of a share (E. B. Wilson, 1927), from 0 to 1: with nine chances in ten the true rate is no
/// lower. Counts may be fractions, since old ones fade.
///
/// It rises with `bad`, and falls with `of` alone; `bad` and `of` rising together raise it. 0 of anything is 0.
pub(crate) fn lower_end(bad: f64, of: f64) -> f64 {
    if bad <= 0.0 || of <= 0.0 {
        return 0.0;
    }
    let (share, square) = ((bad / of).min(1.0), Z * Z);
    let centre = share + square / (2.0 * of);
    let margin = Z * (share * (1.0 - share) / of + square / (4.0 * of * of)).sqrt();
    ((centre - margin) / (1.0 + square / of)).clamp(0.0, share)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 30 of 1,000, by hand: (0.03 + 0.000821 - 1.28155 × √(0.0000291 + 0.00000041)) / 1.001642 = 0.02382.
    #[test]
    fn the_lower_end_is_that_of_the_tables() {
        let known =
            [(30.0, 1000.0, 0.023_820), (1.0, 5.0, 0.061_896), (5.0, 5.0, 0.752_743), (100.0, 100.0, 0.983_842), (5.0, 1000.0, 0.0028)];
        for (bad, of, lower) in known {
            assert!((lower_end(bad, of) - lower).abs() < 5e-5, "{bad} of {of}: {}", lower_end(bad, of));
        }
        assert_eq!((lower_end(0.0, 1000.0), lower_end(0.0, 0.0), lower_end(-1.0, 5.0)), (0.0, 0.0, 0.0));
    }
}
