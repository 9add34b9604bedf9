//! The fuzz targets. A new target needs a function here, an entry in [`TARGETS`], and `seeds/NAME/` with one file per seed.

mod session;

use posthaste_bounce::{Context, Kind, Quoted, Rules, Verdict, read_mail};
use posthaste_smtp::client::replies_in;

/// A target: takes untrusted input, and panics if something is wrong.
pub(crate) type Target = fn(&[u8]);

/// All targets by name.
pub(crate) const TARGETS: [(&str, Target); 4] = [("reply", reply), ("mail", mail), ("session", session::commands), ("body", session::body)];

/// A receiver's reply: read from the wire, then classified.
fn reply(bytes: &[u8]) {
    let (replies, _) = replies_in([bytes]);
    let (piecemeal, _) = replies_in(bytes.chunks(1));
    assert_eq!(replies, piecemeal, "the same replies in whatever pieces they come");
    let rules = Rules::shipped();
    for reply in &replies {
        assert!((200..600).contains(&reply.code), "{reply:?}");
        let quoted = Quoted { code: reply.code, enhanced: reply.enhanced, stage: None, text: reply.text.clone() };
        let verdict = rules.classify_quoted(&quoted, &Context { provider: Some("google"), mx_host: None });
        sound(&verdict);
        assert!(reply.code / 100 != 4 || !verdict.permanent, "{reply:?}: {verdict:?}");
    }
    sound(&rules.classify_text(&String::from_utf8_lossy(bytes), None));
}

/// Mail returned to a bounce address.
fn mail(bytes: &[u8]) {
    let reports = read_mail(bytes, Rules::shipped());
    assert!((1..=100).contains(&reports.len()), "{} reports", reports.len());
    for report in &reports {
        let judged = matches!(report.kind, Kind::Bounce | Kind::Delayed);
        assert_eq!(report.verdict.is_some(), judged, "{report:?}");
        report.verdict.iter().for_each(sound);
    }
    assert_eq!(reports, read_mail(bytes, Rules::shipped()), "one mail, one reading");
}

fn sound(verdict: &Verdict) {
    assert!((0.0..=1.0).contains(&verdict.confidence), "{verdict:?}");
    assert!(!verdict.rule.is_empty() && !verdict.why.is_empty(), "{verdict:?}");
}
