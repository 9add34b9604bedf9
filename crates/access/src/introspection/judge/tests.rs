use super::*;

const NOW: i64 = 1_800_000_000;

fn rules() -> TokenRules {
    TokenRules { username: UserField::Username, scope: None, audience: None }
}

fn judged(answer: &str, rules: &TokenRules) -> Result<Judgement, Unreadable> {
    judge(answer.as_bytes(), rules, Timestamp::from_second(NOW).unwrap())
}

/// An answer about an active token of `app` with these fields in addition.
fn saying(more: &str) -> String {
    format!(r#"{{"active":true,"username":"app"{more}}}"#)
}

fn is_right(answer: &str, rules: &TokenRules) -> bool {
    matches!(judged(answer, rules), Ok(Judgement::Right { .. }))
}

fn is_wrong(answer: &str, rules: &TokenRules) -> bool {
    matches!(judged(answer, rules), Ok(Judgement::Wrong(_)))
}

#[test]
fn the_example_of_the_rfc_is_right_while_its_time_lasts() {
    let answer = br#"{"active": true, "client_id": "l238j323ds-23ij4", "username": "jdoe", "scope": "read write dolphin",
      "sub": "Z5O3upPC88QrAjx00dis", "aud": "https://protected.example.net/resource", "iss": "https://server.example.com/",
      "exp": 1419356238, "iat": 1419350238, "extension_field": "twenty-seven"}"#;
    let until = Timestamp::from_second(1_419_356_238).unwrap();
    let at = |seconds| judge(answer, &rules(), until + SignedDuration::from_secs(seconds));
    assert_eq!(at(-1), Ok(Judgement::Right { user: "jdoe".into(), until: Some(until) }));
    assert!(matches!(at(0), Ok(Judgement::Wrong(_))));
}

#[test]
fn an_inactive_token_is_wrong_whatever_else_is_said() {
    assert!(is_wrong(r#"{"active":false}"#, &rules()));
    assert!(is_wrong(r#"{"active":false,"username":"app","exp":"soon"}"#, &rules()));
}

#[test]
fn the_user_stands_in_the_field_that_was_asked_for_and_in_no_other() {
    let answer = r#"{"active":true,"username":"a","sub":"b","client_id":"c","email":"d@x.test"}"#;
    for ((word, username), name) in UserField::ALL.into_iter().zip(["a", "b", "c", "d@x.test"]) {
        let rules = TokenRules { username, ..rules() };
        assert_eq!(judged(answer, &rules), Ok(Judgement::Right { user: name.into(), until: None }));
        assert!(is_wrong(&answer.replace(&format!("\"{word}\""), "\"other\""), &rules), "{word}");
    }
    assert!(is_wrong(r#"{"active":true,"username":""}"#, &rules()) && is_wrong(r#"{"active":true,"username":null}"#, &rules()));
}

#[test]
fn the_scope_is_one_of_the_words_and_not_a_part_of_one() {
    let rules = TokenRules { scope: Some("smtp.send".into()), ..rules() };
    for good in ["smtp.send", "read smtp.send", "smtp.send  write"] {
        assert!(is_right(&saying(&format!(r#","scope":"{good}""#)), &rules), "{good:?}");
    }
    for bad in ["", "smtp", "smtp.sender", "xsmtp.send", "SMTP.SEND", "read,smtp.send"] {
        assert!(is_wrong(&saying(&format!(r#","scope":"{bad}""#)), &rules), "{bad:?}");
    }
    assert!(is_wrong(&saying(""), &rules) && is_wrong(&saying(r#","scope":null"#), &rules));
}

#[test]
fn the_audience_is_a_text_or_a_list_of_them() {
    let rules = TokenRules { audience: Some("mail.test".into()), ..rules() };
    for good in [r#""mail.test""#, r#"["a","mail.test"]"#] {
        assert!(is_right(&saying(&format!(r#","aud":{good}"#)), &rules), "{good}");
    }
    for bad in [r#""""#, "[]", "null", r#""xmail.test""#, r#"["a","mail"]"#] {
        assert!(is_wrong(&saying(&format!(r#","aud":{bad}"#)), &rules), "{bad}");
    }
    assert!(is_wrong(&saying(""), &rules));
}

#[test]
fn times_may_be_fractions_and_beyond_all_clocks() {
    for (more, right) in [
        (format!(r#","exp":{}"#, NOW + 1), true),
        (format!(r#","exp":{NOW}"#), false),
        (format!(r#","exp":{NOW}.9"#), false),
        (format!(r#","exp":{}.5"#, NOW + 1), true),
        (r#","exp":1e18"#.into(), true),
        (r#","exp":1e300"#.into(), true),
        (format!(r#","exp":{}"#, i64::MAX), true),
        (format!(r#","exp":{}"#, u64::MAX), true),
        (r#","exp":0"#.into(), false),
        (r#","exp":-1"#.into(), false),
        (r#","exp":-1e300"#.into(), false),
        (format!(r#","exp":{}"#, i64::MIN), false),
        (r#","exp":null"#.into(), true),
        (format!(r#","nbf":{NOW}"#), true),
        (format!(r#","nbf":{}"#, NOW + 10), true),
        (format!(r#","nbf":{}"#, NOW + 11), false),
        (r#","nbf":1e300"#.into(), false),
        (r#","nbf":-5"#.into(), true),
    ] {
        assert_eq!((is_right(&saying(&more), &rules()), is_wrong(&saying(&more), &rules())), (right, !right), "{more}");
    }
}

#[test]
fn what_says_neither_yes_nor_no_is_junk_and_not_a_wrong_token() {
    for junk in [
        "",
        "<html>",
        "null",
        "[]",
        "{}",
        r#"{"active":"true","username":"app"}"#,
        r#"{"active":1,"username":"app"}"#,
        r#"{"active":true,"active":false,"username":"app"}"#,
        r#"{"active":true,"username":"app","username":"root"}"#,
        r#"{"active":true,"username":"app","exp":1,"exp":2000000000}"#,
        r#"{"active":true,"username":["app"]}"#,
        &saying(r#","exp":"2000000000""#),
        &saying(r#","exp":"soon""#),
        &saying(r#","exp":true"#),
        &saying(r#","nbf":[]"#),
        &saying(r#","scope":["smtp.send"]"#),
        &saying(r#","aud":7"#),
        &saying(r#","aud":["mail.test",7]"#),
        &saying(r#","exp":1e999"#),
        &format!("{} x", saying("")),
    ] {
        assert!(judged(junk, &rules()).is_err(), "{junk}");
    }
}

#[test]
fn what_is_told_of_junk_holds_nothing_of_it() {
    let Err(Unreadable(why)) = judged(r#"{"active":"s3cret"}"#, &rules()) else { panic!("it is junk") };
    assert!(!why.contains("s3cret"), "{why}");
}
