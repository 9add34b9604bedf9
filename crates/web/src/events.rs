//! The ways from figures and incidents to the events behind them.

use maud::{Markup, html};

use crate::{layout::form_token, sight::Sight, viewer::Viewer, words::foreign};

/// A sender's name, with the way to its mail. One that is called by an address has none: an address has no place in a link.
pub(crate) fn sender(about: &str, key: &str, sight: Sight) -> Markup {
    html! {
        @if key.contains('@') { (sight.line(key)) } @else { a href=(events(&format!("{about}:{key}"))) { (foreign(key)) } }
    }
}

/// The way to the events that an incident is about, by the command that shows them.
pub(crate) fn events_of(key: &str, command: &str, viewer: &Viewer) -> Markup {
    match key.strip_prefix("user:") {
        // A user may be called by an address, which has no place in a link.
        Some(user) if user.contains('@') => html! {
            form .inline method="post" action="/messages" {
                (form_token(&viewer.form_token))
                input type="hidden" name="user" value=(user);
                input type="hidden" name="since" value="24h";
                button { "The events" }
            }
        },
        _ => html! { a href=(link_to_events(key, command)) { "The events" } },
    }
}

/// The page with the events that a command shows: `posthaste log --provider google --event bounced --since 2026-11-29T10:00:00Z`. Where the search has no
/// such criterion, all that the key is about.
fn link_to_events(key: &str, command: &str) -> String {
    let Some(arguments) = command.strip_prefix("posthaste log ") else { return events(key) };
    let (mut query, mut words) = (form_urlencoded::Serializer::new(String::new()), shell_words(arguments).into_iter());
    let mut is_all = true;
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--") else { continue };
        let Some(value) = words.next() else { break };
        match name {
            "event" | "class" | "domain" | "provider" | "stream" | "user" | "source" | "tag" | "since" if !value.contains('@') => {
                query.append_pair(name, &value);
            }
            // The sender's domain may be the From field's.
            "from-domain" => drop(query.append_pair("sender_domain", &value)),
            _ => is_all = false,
        }
    }
    if is_all { format!("/messages?{}", query.finish()) } else { events(key) }
}

/// The words of a command as a shell takes them: bare, or within single quotes.
fn shell_words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The page with the messages that an incident is about.
pub(crate) fn events(key: &str) -> String {
    let field = |name: &str, value: &str| {
        let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        format!("{name}={value}")
    };
    let asked = match key.split_once(':') {
        Some(("lane", pair)) => pair.split_once('/').map(|(source, provider)| field("source", source) + "&" + &field("provider", provider)),
        Some(("stream_provider", pair)) => {
            pair.rsplit_once('/').map(|(stream, provider)| field("stream", stream) + "&" + &field("provider", provider))
        }
        Some((name @ ("provider" | "source" | "stream" | "user"), value)) => Some(field(name, value)),
        Some(("from_domain", value)) => Some(field("sender_domain", value)),
        _ => None,
    };
    asked.map_or_else(|| "/messages?since=1h".into(), |asked| format!("/messages?since=24h&{asked}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_an_incident_are_those_of_its_command() {
        for (command, link) in [
            ("posthaste log --provider google --event bounced", "/messages?provider=google&event=bounced"),
            ("posthaste log --stream 'a b' --since 2026-11-29T10:00:00Z", "/messages?stream=a+b&since=2026-11-29T10%3A00%3A00Z"),
            ("posthaste log --from-domain a.test --event delivered", "/messages?sender_domain=a.test&event=delivered"),
            ("posthaste log --user ann@a.test --event bounced", "/messages?since=24h&provider=google"),
            ("posthaste warmup status", "/messages?since=24h&provider=google"),
        ] {
            assert_eq!(link_to_events("provider:google", command), link);
        }
    }
}
