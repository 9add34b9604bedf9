//! The form of the search.

use maud::{Markup, html};
use posthaste_mail::Class;
use posthaste_monitor::{REFUSED, events};

use super::asked::{Asked, CRITERIA};
use crate::{layout::form_token, site::Site, viewer::Viewer, words::foreign};

/// Criteria that are always shown; the others are folded away until one is used.
const FIRST: usize = 8;

/// The page's head: what is searched for, and what is wrong with it.
pub(super) fn draw(site: &Site, asked: &Asked, viewer: &Viewer, wrong: Option<&str>) -> Markup {
    let streams: Vec<String> = site.desk.settings.load().config.streams.keys().map(ToString::to_string).collect();
    let (first, more) = CRITERIA.split_at(FIRST);
    let is_open = more.iter().any(|(name, _)| !asked.get(name).is_empty());
    html! {
        section {
            h1 { "Messages" }
            @if let Some(wrong) = wrong { p .wrong role="alert" { (foreign(wrong)) } }
            form .inline .find method="post" action="/messages" {
                (form_token(&viewer.form_token))
                label for="find" { "Find" }
                input #find name="find" required maxlength="998" spellcheck="false" autocapitalize="none" placeholder="address, message id, Message-ID, domain, tag";
                button .main { "Find" }
            }
            details #by open[wrong.is_some()] {
                summary { "Search by what you know" }
                form method="post" action="/messages" {
                    (form_token(&viewer.form_token))
                    div .fields { @for (name, label) in first { (field(name, label, asked.get(name), &streams)) } }
                    details #more open[is_open] {
                        summary { "More" }
                        div .fields { @for (name, label) in more { (field(name, label, asked.get(name), &streams)) } }
                    }
                    p .quiet { "Everything that is filled in must hold. @example.com is a whole domain; *part* is a part of an address." }
                    button .main { "Search" } " " a href="/messages" { "Clear" }
                }
            }
        }
    }
}

fn field(name: &str, label: &str, value: &str, streams: &[String]) -> Markup {
    let choice = |words: Vec<String>| {
        html! { select id=(name) name=(name) {
            option value="" { "any" }
            @if !value.is_empty() && !words.iter().any(|word| word == value) { option value=(value) selected { (foreign(value)) } }
            @for word in &words { option value=(word) selected[word == value] { (foreign(&word.replace('_', " "))) } }
        } }
    };
    html! {
        div { label for=(name) { (label) }
            @match name {
                "event" => { (choice(std::iter::once(REFUSED.to_owned()).chain(events()).collect())) }
                "class" => { (choice(Class::ALL.iter().map(|class| class.as_str().to_owned()).collect())) }
                "stream" => { (choice(streams.to_vec())) }
                _ => { input id=(name) name=(name) value=(value) maxlength="998" spellcheck="false" autocapitalize="none"; }
            }
        }
    }
}
