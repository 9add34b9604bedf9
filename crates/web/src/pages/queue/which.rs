//! Which messages of the queue are meant.

use maud::{Markup, html};
use posthaste_queue::MessageSelection;

use crate::{
    layout::form_token,
    trouble::Trouble,
    viewer::{Fields, Viewer},
    words::foreign,
};

/// Which messages of the queue are meant: one, all that fit what is named, or all there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Which {
    pub(super) selection: MessageSelection,
}

impl Which {
    /// What a query or a form says. None: nothing. That all are meant has to be said.
    pub(super) fn read(fields: &Fields) -> Result<Option<Self>, Trouble> {
        let own = |name: &str| fields.get(name).map(str::to_owned);
        let id = fields.get("id").map(str::parse).transpose().map_err(|_| Trouble::Bad("The field \"id\" is no message's id.".into()))?;
        let selection = MessageSelection { id, domain: own("domain"), provider: own("provider"), stream: own("stream"), user: own("user") };
        let is_said = selection != MessageSelection::default() || fields.get("all") == Some("yes");
        Ok(is_said.then_some(Self { selection }))
    }

    /// The same as names and values.
    fn fields(&self) -> Vec<(&'static str, String)> {
        fields(&self.selection)
    }

    /// The same as a query.
    pub(super) fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.fields());
        query.finish()
    }

    /// Where its messages are shown.
    pub(super) fn page(&self) -> String {
        match self.selection.id {
            Some(id) => format!("/messages/{id}?"),
            None => format!("/queue?{}&", self.query()),
        }
    }

    /// The same in words.
    pub(super) fn words(&self) -> String {
        let MessageSelection { id, domain, provider, stream, user } = &self.selection;
        if let Some(id) = id {
            return format!("message {id}");
        }
        let named = [("to provider", provider), ("to domain", domain), ("of stream", stream), ("of user", user)];
        let named: Vec<String> =
            named.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", foreign(value.as_ref()?)))).collect();
        if named.is_empty() { "all that wait".into() } else { named.join(", ") }
    }

    /// The same as hidden fields of a form.
    pub(super) fn hidden(&self) -> Markup {
        html! { @for (name, value) in self.fields() { input type="hidden" name=(name) value=(value); } }
    }
}

fn fields(selection: &MessageSelection) -> Vec<(&'static str, String)> {
    let MessageSelection { id, domain, provider, stream, user } = selection;
    let all = [
        ("id", id.map(|id| id.to_string())),
        ("domain", domain.clone()),
        ("provider", provider.clone()),
        ("stream", stream.clone()),
        ("user", user.clone()),
    ];
    let named: Vec<_> = all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    if named.is_empty() { vec![("all", "yes".into())] } else { named }
}

/// The buttons that steer some messages.
pub(in super::super) fn buttons(selection: &MessageSelection, viewer: &Viewer) -> Markup {
    let which = Which { selection: selection.clone() };
    html! {
        form .inline method="post" action="/queue/ask" {
            (form_token(&viewer.form_token))
            (which.hidden())
            button name="action" value="retry" { "Retry now" }
            button name="action" value="hold" { "Hold…" }
            button name="action" value="release" { "Release" }
            button .grave name="action" value="drop" { "Drop…" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn which(query: &str) -> Option<Which> {
        Which::read(&Fields::read(query.as_bytes())).unwrap()
    }

    #[test]
    fn that_all_are_meant_has_to_be_said() {
        assert_eq!(which(""), None);
        assert_eq!(which("provider=&stream=+"), None);
        assert_eq!(which("all=yes").unwrap().selection, MessageSelection::default());
        assert_eq!(which("all=yes").unwrap().words(), "all that wait");
        assert!(Which::read(&Fields::read(b"id=1")).is_err());
    }

    #[test]
    fn it_reads_back_what_it_writes() {
        for query in ["provider=google&stream=news", "domain=b%C3%BCcher.test&user=a+b", "all=yes", "id=01KAQ2V3W4X5Y6Z7A8B9C0D1E2"] {
            let read = which(query).unwrap();
            assert_eq!(which(&read.query()), Some(read), "{query}");
        }
        let hostile = which("provider=%22%3E%3Cscript%3E").unwrap();
        assert!(!hostile.hidden().0.contains("<script"), "{}", hostile.hidden().0);
        assert_eq!(which("provider=google&stream=news").unwrap().words(), "to provider google, of stream news");
    }
}
