//! The DNS record of a key in the format of a zone file.

/// The longest string inside a TXT record, in bytes (RFC 1035 §3.3).
const TXT_STRING_MAX: usize = 255;

/// A zone-file entry for `selector._domainkey.domain`, ready to paste: the record is split into strings of at most 255 bytes,
/// one a line between parentheses, which verifiers join again (RFC 6376 §3.6.2.2).
pub fn zone_lines(selector: &str, domain: &str, record: &str) -> String {
    let mut lines = format!("{selector}._domainkey.{domain}. IN TXT (");
    let mut rest = record;
    while !rest.is_empty() {
        let cut = rest.floor_char_boundary(TXT_STRING_MAX);
        lines.push_str(&format!("\n    \"{}\"", rest[..cut].replace('\\', "\\\\").replace('"', "\\\"")));
        rest = &rest[cut..];
    }
    lines + " )\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_record_is_cut_into_strings_that_join_to_it() {
        let record = format!("v=DKIM1; k=rsa; p={}", "A".repeat(392));
        let zone = zone_lines("s1", "example.com", &record);
        assert!(zone.starts_with("s1._domainkey.example.com. IN TXT (\n"));
        let strings: Vec<&str> = zone.split('"').skip(1).step_by(2).collect();
        assert_eq!(strings.iter().map(|s| s.len()).collect::<Vec<_>>(), [255, record.len() - 255]);
        assert_eq!(strings.concat(), record);
    }
}
