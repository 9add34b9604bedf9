//! The interval in which a rate lies, given how little was seen of it.

/// The lower end of the one-sided 90 % Wilson interval of `n` of `of`, from 0 to 1: with nine chances in ten the true rate is no lower. Of
/// nothing it is 0. (E. B. Wilson, 1927.)
#[allow(clippy::cast_precision_loss)] // counts of mail are far below 2^52
pub(crate) fn lower_end(n: u64, of: u64) -> f64 {
    if of == 0 {
        return 0.0;
    }
    /// The normal distribution's 90 % quantile.
    const Z: f64 = 1.281_551_565_544_6;
    let (n, of) = (n.min(of) as f64, of as f64);
    let rate = n / of;
    let middle = rate + Z * Z / (2.0 * of);
    let half = Z * (rate * (1.0 - rate) / of + Z * Z / (4.0 * of * of)).sqrt();
    ((middle - half) / (1.0 + Z * Z / of)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::lower_end;

    #[test]
    fn the_lower_end_is_that_of_the_tables() {
        for (n, of, expected) in [(0, 0, 0.0), (0, 100, 0.0), (1, 5, 0.0619), (10, 1000, 0.0067), (5, 1000, 0.0028), (100, 100, 0.984)] {
            assert!((lower_end(n, of) - expected).abs() < 0.0006, "{n} of {of}: {}", lower_end(n, of));
        }
    }
}
