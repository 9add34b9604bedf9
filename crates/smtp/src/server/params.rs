//! Parses the parameters of MAIL and RCPT. Numbers never overflow, and no parameter is accepted twice.

use jiff::Timestamp;
use posthaste_mail::{BodyKind, DeliverBy, Hold, Notify, RcptParameters, Ret, TransferPriority};

use super::{Answer, MailRequest, offers::Offered, path};

/// RFC 1870 §3: a size has at most 20 digits.
const SIZE_DIGITS_MAX: usize = 20;
/// RFC 3461 §4.4 and §4.2.
const ENVID_MAX: usize = 100;
const ORCPT_MAX: usize = 500;

/// Parses the parameters of MAIL.
pub(super) fn mail(rest: &str, offered: &Offered, request: &mut MailRequest) -> Result<(), Answer> {
    let mut seen = Vec::new();
    for (keyword, value) in path::parameters(rest).map_err(|e| bad(e.to_string()))? {
        let keyword = once(keyword, &mut seen)?;
        let parameters = &mut request.parameters;
        match &*keyword {
            "SIZE" => request.size = Some(size(value)?),
            "BODY" => request.body = body(value)?,
            "SMTPUTF8" => parameters.smtputf8 = alone(value, "SMTPUTF8")?,
            "REQUIRETLS" if offered.require_tls => parameters.require_tls = alone(value, "REQUIRETLS")?,
            "RET" => parameters.ret = Some(ret(value)?),
            "ENVID" => {
                parameters.envid = Some(xtext(value, ENVID_MAX).ok_or_else(|| bad("ENVID is xtext of at most 100 characters"))?.into())
            }
            "BY" => parameters.deliver_by = Some(deliver_by(value)?),
            "HOLDFOR" if offered.hold.is_some() => parameters.hold = Some(hold_for(value, offered, parameters.hold.is_some())?),
            "HOLDUNTIL" if offered.hold.is_some() => parameters.hold = Some(hold_until(value, offered, parameters.hold.is_some())?),
            "MT-PRIORITY" if offered.priority => parameters.priority = Some(priority(value)?),
            // RFC 4954 §5: a server that offers AUTH accepts the parameter. No client is trusted with it, so it is ignored.
            "AUTH" if offered.auth => drop(value.ok_or_else(|| bad("AUTH= is an address or <>"))?),
            keyword => return Err(unknown(keyword)),
        }
    }
    Ok(())
}

/// Parses the parameters of RCPT.
pub(super) fn rcpt(rest: &str) -> Result<RcptParameters, Answer> {
    let mut parameters = RcptParameters::default();
    let mut seen = Vec::new();
    for (keyword, value) in path::parameters(rest).map_err(|e| bad(e.to_string()))? {
        let keyword = once(keyword, &mut seen)?;
        match &*keyword {
            "NOTIFY" => parameters.notify = Some(notify(value)?),
            "ORCPT" => parameters.orcpt = Some(original(value)?.into()),
            keyword => return Err(unknown(keyword)),
        }
    }
    Ok(parameters)
}

fn once(keyword: &str, seen: &mut Vec<String>) -> Result<String, Answer> {
    let keyword = keyword.to_ascii_uppercase();
    if seen.contains(&keyword) {
        return Err(bad(format!("{} is given twice", &keyword[..keyword.len().min(40)])));
    }
    seen.push(keyword.clone());
    Ok(keyword)
}

fn bad(text: impl Into<String>) -> Answer {
    Answer::new(501, 5, 4, text)
}

/// RFC 5321 §4.1.1.11: 555.
fn unknown(keyword: &str) -> Answer {
    Answer::new(555, 5, 4, format!("parameter {} is not offered", &keyword[..keyword.len().min(40)]))
}

fn alone(value: Option<&str>, keyword: &str) -> Result<bool, Answer> {
    if value.is_none() { Ok(true) } else { Err(bad(format!("{keyword} has no value"))) }
}

/// RFC 1870 §3. A number of twenty digits that does not fit 64 bits counts as the largest: it is too large in any case.
fn size(value: Option<&str>) -> Result<u64, Answer> {
    match value {
        Some(digits) if digits.len() <= SIZE_DIGITS_MAX && is_digits(digits) => Ok(digits.parse().unwrap_or(u64::MAX)),
        _ => Err(bad("SIZE is a number of bytes")),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// RFC 6152 §2, RFC 3030 §3.
fn body(value: Option<&str>) -> Result<BodyKind, Answer> {
    let is = |word: &str| value.is_some_and(|v| v.eq_ignore_ascii_case(word));
    if is("7BIT") {
        Ok(BodyKind::SevenBit)
    } else if is("8BITMIME") {
        Ok(BodyKind::EightBitMime)
    } else if is("BINARYMIME") {
        Ok(BodyKind::BinaryMime)
    } else {
        Err(bad("BODY is 7BIT, 8BITMIME or BINARYMIME"))
    }
}

/// RFC 3461 §4.3.
fn ret(value: Option<&str>) -> Result<Ret, Answer> {
    match value {
        Some(v) if v.eq_ignore_ascii_case("FULL") => Ok(Ret::Full),
        Some(v) if v.eq_ignore_ascii_case("HDRS") => Ok(Ret::Hdrs),
        _ => Err(bad("RET is FULL or HDRS")),
    }
}

/// RFC 6710 §6.
fn priority(value: Option<&str>) -> Result<TransferPriority, Answer> {
    value.and_then(TransferPriority::parse).ok_or_else(|| bad("MT-PRIORITY is a number from -9 to 9"))
}

/// RFC 2852 §4.
fn deliver_by(value: Option<&str>) -> Result<DeliverBy, Answer> {
    let wrong = || bad("BY is seconds, ';', and R (more than 0 seconds) or N, each perhaps with T");
    value.and_then(DeliverBy::parse).ok_or_else(wrong)
}

/// RFC 3461 §4.1: NEVER stands alone.
fn notify(value: Option<&str>) -> Result<Notify, Answer> {
    let wrong = || bad("NOTIFY is NEVER, or some of SUCCESS, FAILURE, DELAY");
    let value = value.ok_or_else(wrong)?;
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(notify);
    }
    for word in value.split(',') {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return Err(wrong()),
        }
    }
    Ok(notify)
}

/// RFC 3461 §4.2: `type;xtext`. The type `utf-8` of SMTPUTF8 has an encoding of its own (RFC 6533), which is kept.
fn original(value: Option<&str>) -> Result<String, Answer> {
    let wrong = || bad("ORCPT is a type, ';' and xtext, 500 characters in all");
    let (kind, address) = value.filter(|v| v.len() <= ORCPT_MAX).and_then(|v| v.split_once(';')).ok_or_else(wrong)?;
    if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(wrong());
    }
    if kind.eq_ignore_ascii_case("utf-8") {
        return if address.is_ascii() { Ok(format!("{kind};{address}")) } else { Err(wrong()) };
    }
    xtext(Some(address), ORCPT_MAX).map(|address| format!("{kind};{address}")).ok_or_else(wrong)
}

/// RFC 3461 §4: `+` and two upper-case hex digits encode a character. The decoded text must be printable ASCII, because it is put into
/// notices and further commands.
fn xtext(value: Option<&str>, max: usize) -> Option<String> {
    let value = value.filter(|v| v.len() <= max)?;
    let mut parts = value.split('+');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let hex = part.get(..2).filter(|hex| hex.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)))?;
        text.push(char::from(u8::from_str_radix(hex, 16).ok()?));
        text.push_str(&part[2..]);
    }
    (!text.is_empty() && text.bytes().all(|b| matches!(b, b' '..=b'~'))).then_some(text)
}

/// RFC 4865 §4.1: at most nine digits.
fn hold_for(value: Option<&str>, offered: &Offered, twice: bool) -> Result<Hold, Answer> {
    let digits = value.filter(|v| v.len() <= 9 && is_digits(v)).ok_or_else(|| bad("HOLDFOR is seconds"))?;
    let seconds: u32 = digits.parse().map_err(|_| bad("HOLDFOR is seconds"))?;
    let within = offered.hold.as_ref().is_some_and(|hold| u64::from(seconds) <= hold.seconds);
    held(Hold::For(seconds), within, twice)
}

/// RFC 4865 §4.2: a time in the format of RFC 3339.
fn hold_until(value: Option<&str>, offered: &Offered, twice: bool) -> Result<Hold, Answer> {
    let at: Timestamp = value.and_then(|v| v.parse().ok()).ok_or_else(|| bad("HOLDUNTIL is a moment such as 2030-01-31T08:00:00Z"))?;
    let within = offered.hold.as_ref().is_some_and(|hold| at <= hold.until);
    held(Hold::Until(at), within, twice)
}

fn held(hold: Hold, within: bool, twice: bool) -> Result<Hold, Answer> {
    if twice {
        return Err(bad("HOLDFOR or HOLDUNTIL, not both"));
    }
    if within { Ok(hold) } else { Err(bad("a message is not held that long here: see FUTURERELEASE in the answer to EHLO")) }
}

#[cfg(test)]
mod tests {
    use posthaste_mail::{EsmtpParameters, ReversePath};

    use super::*;
    use crate::server::offers::HoldBounds;

    fn read(rest: &str) -> Result<MailRequest, u16> {
        let until = "2030-01-01T00:00:00Z".parse().unwrap();
        let offered = Offered {
            auth: true,
            require_tls: true,
            hold: Some(HoldBounds { seconds: 86_400, until }),
            priority: true,
            lenient: false,
            postmaster: None,
        };
        let mut request =
            MailRequest { reverse_path: ReversePath::Null, size: None, body: BodyKind::default(), parameters: EsmtpParameters::default() };
        mail(rest, &offered, &mut request).map(|()| request).map_err(|answer| answer.code)
    }

    #[test]
    fn each_parameter_is_read_in_any_case() {
        let request =
            read(" size=5 Body=BinaryMime smtputf8 RequireTLS ret=hdrs ENVID=QQ+2B314 HOLDFOR=60 AUTH=<> mt-priority=-4 by=+90;rT")
                .unwrap();
        let parameters = request.parameters;
        assert_eq!((request.size, request.body), (Some(5), BodyKind::BinaryMime));
        assert!(parameters.smtputf8 && parameters.require_tls);
        assert_eq!((parameters.ret, parameters.envid.as_deref()), (Some(Ret::Hdrs), Some("QQ+314")));
        assert_eq!((parameters.hold, parameters.priority), (Some(Hold::For(60)), TransferPriority::new(-4)));
        assert_eq!(parameters.deliver_by.unwrap().to_string(), "90;RT");
        assert!(matches!(read(" HOLDUNTIL=2029-12-31T23:59:59Z").unwrap().parameters.hold, Some(Hold::Until(_))));
    }

    #[test]
    fn sizes_are_numbers_and_overflow_to_too_large() {
        let size_of = |text: &str| read(&format!(" SIZE={text}")).ok().and_then(|request| request.size);
        assert_eq!(size_of("0"), Some(0));
        assert_eq!(size_of("00000000000000000099"), Some(99));
        assert_eq!(size_of("99999999999999999999"), Some(u64::MAX));
        for not in ["", "-1", "+1", "1e3", "999999999999999999999", "0x10"] {
            assert_eq!(size_of(not), None, "{not}");
        }
    }

    #[test]
    fn what_is_misspelt_doubled_or_beyond_its_limit_is_refused() {
        for rest in [
            " SIZE=1 size=1",
            " BODY=9BIT",
            " BODY",
            " SMTPUTF8=yes",
            " REQUIRETLS=1",
            " RET=ALL",
            " RET",
            " ENVID=",
            " ENVID=a+0",
            " ENVID=a+0d",
            " ENVID=a+0D",
            " HOLDFOR=86401",
            " HOLDFOR=-1",
            " HOLDFOR=9999999999",
            " HOLDFOR=1 HOLDUNTIL=2029-01-01T00:00:00Z",
            " HOLDUNTIL=soon",
            " HOLDUNTIL=2030-01-01T00:00:01Z",
            " AUTH",
            " BY",
            " BY=60",
            " BY=0;R",
            " BY=1000000000;N",
            " BY=60;R BY=60;R",
            " MT-PRIORITY",
            " MT-PRIORITY=10",
            " MT-PRIORITY=+1",
        ] {
            assert_eq!(read(rest), Err(501), "{rest}");
        }
        assert_eq!(read(" SOLICIT=x"), Err(555));
        assert_eq!(read(&format!(" ENVID={}", "x".repeat(101))), Err(501));
    }

    #[test]
    fn recipients_have_notify_and_orcpt() {
        let parameters = rcpt(" NOTIFY=success,Delay ORCPT=rfc822;Bob+2Bx@y.test").unwrap();
        assert_eq!(parameters.notify, Some(Notify { success: true, failure: false, delay: true }));
        assert_eq!(parameters.orcpt.as_deref(), Some("rfc822;Bob+x@y.test"));
        assert_eq!(rcpt(" NOTIFY=NEVER").unwrap().notify, Some(Notify::default()));
        assert_eq!(rcpt(" ORCPT=utf-8;j\\x{FC}rgen@y.test").unwrap().orcpt.as_deref(), Some("utf-8;j\\x{FC}rgen@y.test"));
        let long = format!(" ORCPT=rfc822;{}", "x".repeat(500));
        for rest in
            [" NOTIFY", " NOTIFY=NEVER,FAILURE", " NOTIFY=,", " ORCPT=x", " ORCPT=;x", " ORCPT=rfc822;", " ORCPT=rfc822;a+0A", &long]
        {
            assert_eq!(rcpt(rest).map_err(|answer| answer.code), Err(501), "{rest}");
        }
        assert_eq!(rcpt(" SIZE=1").map_err(|answer| answer.code), Err(555));
    }
}
