//! What operators do with messages of the queue: hold, release, retry, drop. What is grave, or of many, is shown first and confirmed.

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use posthaste_queue::QueueChange;
use posthaste_relay::desk::{Changed, List};
use serde_json::json;

use super::{Which, list};
use crate::{
    answer::{Answered, As, Shared},
    layout::{Here, Page, form_token},
    sight::Sight,
    site::Site,
    snapshot::Snapshot,
    trouble::Trouble,
    viewer::{Fields, Steering, Viewer, go_on},
    words::{counted, number},
};

/// Messages that are shown before it is done.
const EXAMPLES: usize = 5;
/// Characters of a reason.
const REASON_MAX: usize = 512;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Hold,
    Release,
    Retry,
    Drop,
}

impl Action {
    const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Hold, "hold", "Hold"),
        (Self::Release, "release", "Release"),
        (Self::Retry, "retry", "Retry"),
        (Self::Drop, "drop", "Drop"),
    ];

    fn read(fields: &Fields) -> Result<Self, Trouble> {
        let given = fields.need("action")?;
        let found = Self::ALL.into_iter().find(|(_, word, _)| *word == given);
        found.map(|(action, ..)| action).ok_or_else(|| Trouble::Bad(format!("{given:?} is nothing that can be done with messages.")))
    }

    fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(action, ..)| *action == self).map_or("", |(_, word, _)| word)
    }

    fn title(self) -> &'static str {
        Self::ALL.into_iter().find(|(action, ..)| *action == self).map_or("", |(.., title)| title)
    }

    /// What it does, for those who are about to.
    fn explained(self) -> &'static str {
        match self {
            Self::Hold => {
                "They wait until somebody releases them; attempts that are under way go on, and so does new mail. \
                           To stop new mail too, pause the lanes (Warm-up)."
            }
            Self::Release => "They are tried when their turn comes. What the guard holds is left alone.",
            Self::Retry => "They are due now, and hosts that were out of reach are tried again. Pauses and caps of lanes still hold.",
            Self::Drop => "They are removed from the queue for good, and nobody is told: no notice goes to their senders.",
        }
    }

    /// Whether the log is to say why.
    fn has_reason(self) -> bool {
        matches!(self, Self::Hold | Self::Drop)
    }
}

/// Does at once what is not grave and of one message; asks before everything else.
pub(super) async fn ask(State(site): Shared, form: As, Steering { by, form: fields }: Steering) -> Answered {
    let (action, which) = (Action::read(&fields)?, Which::read(&fields)?.ok_or_else(Trouble::no_selection)?);
    if which.selection.id.is_some() && !action.has_reason() {
        return carry_out(&site, action, &which, &by, &fields).await;
    }
    let list = site.desk.list(which.selection.clone(), EXAMPLES).await?;
    let snapshot = site.snapshots.of(&site.desk).await?;
    let main = preview(action, &which, &list, &by, (&snapshot, by.sight));
    let data = json!({ "action": action.word(), "messages": list.total });
    Ok(form.answer(Page { title: format!("{}?", action.title()), here: Here::Queue, live: false, main, data }, &by))
}

/// Does what was confirmed.
pub(super) async fn change(State(site): Shared, Steering { by, form }: Steering) -> Answered {
    let (action, which) = (Action::read(&form)?, Which::read(&form)?.ok_or_else(Trouble::no_selection)?);
    carry_out(&site, action, &which, &by, &form).await
}

async fn carry_out(site: &Site, action: Action, which: &Which, by: &Viewer, form: &Fields) -> Result<Response, Trouble> {
    let (selection, name) = (which.selection.clone(), by.name.to_string());
    let reason = || form.need("reason").map(|reason| reason.chars().take(REASON_MAX).collect::<String>());
    let change = match action {
        // The log's line of a hold has no field for who did it.
        Action::Hold => QueueChange::Hold { selection, reason: format!("{} (by {name})", reason()?) },
        Action::Release => QueueChange::Release { selection, by: name },
        Action::Retry => QueueChange::Retry { selection, scheduled: form.get("scheduled") == Some("yes"), by: name },
        Action::Drop => QueueChange::Cancel { selection, by: name, reason: reason()? },
    };
    let changed = site.desk.change(change).await?;
    site.snapshots.changed().await;
    let Changed { messages, not_sent, scheduled, guarded } = changed;
    let word = action.word();
    Ok(go_on(&format!("{}done={word}&n={messages}&scheduled={scheduled}&guarded={guarded}&stuck={}", which.page(), not_sent.len())))
}

fn preview(action: Action, which: &Which, list: &List, by: &Viewer, (snapshot, sight): (&Snapshot, Sight)) -> Markup {
    let (all, title) = (counted(list.total as u64, "message", "messages"), action.title());
    let back = which.page();
    let more = list.total - list.messages.len();
    html! {
        section {
            @if list.total == 0 {
                h1 { "Nothing fits" }
                p { "No message that waits fits any more (" (which.words()) "). Nothing was changed." }
                p { a href=(back) { "Back" } }
            } @else {
                h1 { (title) " " (all) "?" }
                p { "That is: " (which.words()) ". " (action.explained()) }
                (list::rows(&list.messages, snapshot, sight))
                @if more > 0 { p .quiet { "… and " (number(more as u64)) " more." } }
                form .login method="post" action="/queue/change" {
                    (form_token(&by.form_token))
                    (which.hidden())
                    input type="hidden" name="action" value=(action.word());
                    @if action.has_reason() {
                        label for="reason" { "Reason, for the log" }
                        input #reason name="reason" required maxlength=(REASON_MAX);
                    }
                    @if action == Action::Retry {
                        label { input type="checkbox" name="scheduled" value="yes"; " also those that their senders want sent later" }
                    }
                    button .(if action == Action::Drop { "grave" } else { "main" }) { (title) " " (all) }
                }
                p { a href=(back) { "Back, and change nothing" } }
            }
        }
    }
}

/// What was done, as the address of the page says it.
pub(in super::super) fn done(query: &Fields) -> Markup {
    let n = |name: &str| query.get(name).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let all = n("n");
    let messages = counted(all, "message", "messages");
    let are = if all == 1 { "is" } else { "are" };
    let what = match query.get("done") {
        Some("hold" | "release" | "retry" | "drop") if all == 0 => "Nothing was changed: no message fitted any more.".to_owned(),
        Some("hold") => format!("{messages} {are} held now."),
        Some("release") => format!("{messages} {are} released."),
        Some("retry") => format!("{messages} {are} due now."),
        Some("drop") => format!("{messages} {are} removed."),
        _ => return html! {},
    };
    html! {
        div .said role="status" {
            p { strong { (what) } }
            @if n("scheduled") > 0 { p { (counted(n("scheduled"), "message waits", "messages wait")) " for the time that the sender has set." } }
            @if n("guarded") > 0 { p { (counted(n("guarded"), "message is", "messages are")) " held by the guard: " a href="/senders" { "Senders" } " has the button." } }
            @if n("stuck") > 0 { p { "Some of it still waits: lanes pause or are stopped, as shown below." } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(query: &str) -> String {
        done(&Fields::read(query.as_bytes())).0
    }

    #[test]
    fn what_was_done_is_said_from_numbers_alone() {
        assert!(said("done=hold&n=12").contains("12 messages are held now."));
        assert!(said("done=drop&n=1").contains("1 message is removed."));
        assert!(said("done=retry&n=3&scheduled=2&guarded=1&stuck=1").contains("2 messages wait for the time"));
        assert!(said("done=release&n=0").contains("Nothing was changed"));
        for forged in ["", "done=%3Cscript%3E&n=1", "done=hold&n=%3Cscript%3E"] {
            assert!(!said(forged).contains("script"), "{forged}");
        }
    }

    #[test]
    fn only_what_is_known_can_be_done() {
        for (action, word, _) in Action::ALL {
            assert_eq!(Action::read(&Fields::read(format!("action={word}").as_bytes())).unwrap(), action);
        }
        assert!(Action::read(&Fields::read(b"action=delete")).is_err() && Action::read(&Fields::default()).is_err());
    }
}
