//! The shape of a reply: replies that differ only in numbers, addresses and ids have one shape. Used to find replies that no rule knows.

/// The reply with its variable parts replaced: `550 5.1.1 <a@b.org> x7Fq2` becomes `550 5.1.1 <address> <id>`.
pub fn shape(reply: &str) -> String {
    let words = crate::text::head(reply, crate::text::TEXT_MAX).split_whitespace().map(word_shape);
    words.collect::<Vec<_>>().join(" ")
}

fn word_shape(word: &str) -> String {
    let core = word.trim_matches(|c: char| !c.is_alphanumeric());
    let digits = core.bytes().filter(u8::is_ascii_digit).count();
    let letters = core.bytes().filter(u8::is_ascii_alphabetic).count();
    let put = |mark: &str| word.replacen(core, mark, 1);
    if core.contains('@') {
        put("address").replace(['<', '>'], "").replacen("address", "<address>", 1)
    } else if core.parse::<std::net::IpAddr>().is_ok() {
        put("<ip>")
    } else if core.parse::<posthaste_mail::EnhancedCode>().is_ok() || (core.len() == 3 && digits == 3 && core.starts_with(['4', '5'])) {
        word.to_owned()
    } else if digits > 0 && letters == 0 {
        put("<number>")
    } else if digits > 1 && core.len() >= 5 {
        put("<id>")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_one_kind_have_one_shape() {
        let one = shape("550 5.1.1 <ann@example.org> blocked 192.0.2.1 for 300 seconds x7Fq22a");
        assert_eq!(one, shape("550 5.1.1 <bob@example.net> blocked 198.51.100.9 for 60 seconds 9kk2Lq0"));
        assert_eq!(one, "550 5.1.1 <address> blocked <ip> for <number> seconds <id>");
    }
}
