//! What is searched for, and how a page may name it: no address of a person stands in a URL.

use maud::{Markup, html};
use posthaste_mail::MessageId;

use crate::{sight::Sight, viewer::Fields};

/// The criteria of the form, with their labels.
pub(super) const CRITERIA: [(&str, &str); 16] = [
    ("rcpt", "Recipient"),
    ("sender", "Sender"),
    ("sender_domain", "Sender's domain"),
    ("message", "Id or part of one"),
    ("message_id", "Message-ID"),
    ("domain", "Recipient's domain"),
    ("provider", "Provider"),
    ("event", "Event"),
    ("class", "What the reply meant"),
    ("stream", "Stream"),
    ("user", "Sent by user"),
    ("source", "Sent from source"),
    ("tag", "Tag"),
    ("meta", "Metadata (name=value)"),
    ("since", "Since (2h, or a time)"),
    ("until", "Until"),
];

/// What is searched for: names and values of criteria.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked(Vec<(&'static str, String)>);

impl Asked {
    /// The criteria among these fields.
    pub(super) fn read(fields: &Fields) -> Self {
        Self(CRITERIA.iter().filter_map(|(name, _)| Some((*name, fields.get(name)?.to_owned()))).collect())
    }

    /// What somebody means who fills in one field for everything.
    pub(super) fn guess(text: &str) -> Self {
        let bare = text.strip_prefix("Message-ID:").unwrap_or(text).trim();
        let name = match bare {
            bare if bare.parse::<MessageId>().is_ok() => "message",
            bare if bare.starts_with('<') || bare.len() < text.len() => "message_id",
            bare if bare.starts_with('@') => return Self(vec![("domain", bare.trim_start_matches('@').to_owned())]),
            bare if bare.contains('@') => "rcpt",
            bare if bare.contains('.') => "domain",
            bare if bare.contains('=') => "meta",
            bare if bare.len() >= 8
                && bare.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && bare.bytes().any(|byte| byte.is_ascii_digit()) =>
            {
                "message"
            }
            _ => "tag",
        };
        Self(vec![(name, bare.to_owned())])
    }

    /// The only criterion, if it is a whole message id.
    pub(super) fn one_message(&self) -> Option<MessageId> {
        match self.0.as_slice() {
            [("message", id)] => id.parse().ok(),
            _ => None,
        }
    }

    /// Names and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, &**value))
    }

    /// The value of a criterion; empty: there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.iter().find(|(own, _)| *own == name).map_or("", |(_, value)| value)
    }

    /// Whether something is looked for.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it can be linked: what has an `@` stays out of URLs, though a Message-ID or a domain names nobody.
    pub(super) fn can_be_linked(&self) -> bool {
        !self.names_somebody() && self.iter().all(|(_, value)| !value.contains('@'))
    }

    /// The same in words, for somebody who sees so much.
    pub(super) fn words(&self, sight: Sight) -> String {
        let label = |name: &str| {
            CRITERIA.iter().find(|(own, _)| *own == name).map_or("", |(_, label)| label.split(" (").next().unwrap_or_default())
        };
        let words: Vec<String> = self.iter().map(|(name, value)| format!("{} {}", label(name).to_lowercase(), sight.line(value))).collect();
        words.join(", ")
    }

    /// The same as hidden fields of a form.
    pub(super) fn hidden(&self) -> Markup {
        html! { @for (name, value) in self.iter() { input type="hidden" name=(name) value=(value); } }
    }

    /// Whether it may name a person, and has no place in a URL.
    pub(super) fn names_somebody(&self) -> bool {
        self.iter().any(|(name, value)| match name {
            "rcpt" | "sender" => !value.starts_with('@'),
            "message_id" => false,
            _ => value.contains('@'),
        })
    }

    /// The same as a query.
    pub(super) fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.iter());
        query.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Asked {
        Asked::read(&Fields::read(query.as_bytes()))
    }

    #[test]
    fn who_could_be_a_person_has_no_place_in_a_url() {
        for query in [
            "rcpt=ann%40a.test",
            "rcpt=ann",
            "sender=app",
            "meta=of%3Dann%40a.test",
            "user=ann%40a.test",
            "tag=ann%40a.test",
            "message=ann%40a.test",
        ] {
            assert!(asked(query).names_somebody(), "{query}");
        }
        for query in
            ["rcpt=%40a.test", "domain=a.test", "message_id=%3C1%40a.test%3E", "provider=google&event=refused&since=1h", "user=app", ""]
        {
            assert!(!asked(query).names_somebody(), "{query}");
        }
    }

    #[test]
    fn what_has_an_at_sign_is_not_linked() {
        assert!(["provider=google&since=1h", "message=8b9c0d1e2", ""].iter().all(|query| asked(query).can_be_linked()));
        assert!(!["rcpt=ann", "rcpt=%40a.test", "message_id=%3C1%40a.test%3E"].iter().any(|query| asked(query).can_be_linked()));
    }

    #[test]
    fn only_criteria_are_read_and_they_read_back() {
        let read = asked("provider=google&as=json&cursor=1-2-3&event=refused&tag=+&form=x");
        assert_eq!(read.query(), "provider=google&event=refused");
        assert_eq!(asked(&read.query()), read);
        assert!(asked("as=json").is_empty());
        assert_eq!(asked("rcpt=ann%40a.test&since=1h").words(Sight { masks: true }), "recipient a…@a.test, since 1h");
    }

    #[test]
    fn one_field_for_everything_guesses_what_is_meant() {
        let guess = |text: &str| Asked::guess(text).0.swap_remove(0);
        for (text, name, value) in [
            ("01KAQ2V3W4X5Y6Z7A8B9C0D1E2", "message", "01KAQ2V3W4X5Y6Z7A8B9C0D1E2"),
            ("8b9c0d1e2", "message", "8b9c0d1e2"),
            ("<1@a.test>", "message_id", "<1@a.test>"),
            ("Message-ID: 1@a.test", "message_id", "1@a.test"),
            ("ann@a.test", "rcpt", "ann@a.test"),
            ("@a.test", "domain", "a.test"),
            ("a.test", "domain", "a.test"),
            ("order=4711", "meta", "order=4711"),
            ("newsletter", "tag", "newsletter"),
        ] {
            assert_eq!(guess(text), (name, value.to_owned()), "{text}");
        }
        assert!(Asked::guess("01KAQ2V3W4X5Y6Z7A8B9C0D1E2").one_message().is_some() && Asked::guess("8b9c0d1e2").one_message().is_none());
    }
}
