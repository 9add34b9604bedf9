//! A message as JSON: what may be said of it. What it becomes is in `compose`.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use utoipa::ToSchema;

/// A message to send.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"from": "Shop <shop@example.com>", "to": "ann@example.org", "subject": "Your order", "text": "It is on its way."}))]
pub(super) struct Draft<'a> {
    /// The From field, and who is told of failures unless `return_path` says otherwise.
    pub(super) from: Option<Mailbox>,
    /// Who is told of failures; empty: nobody.
    pub(super) return_path: Option<String>,
    /// Recipients.
    #[serde(default)]
    pub(super) to: Mailboxes,
    /// More of them.
    #[serde(default)]
    pub(super) cc: Mailboxes,
    /// More of them, whom the others do not see.
    #[serde(default)]
    pub(super) bcc: Mailboxes,
    /// Where answers go.
    #[serde(default)]
    pub(super) reply_to: Mailboxes,
    /// The Subject field.
    pub(super) subject: Option<String>,
    /// The text.
    #[serde(borrow, default)]
    pub(super) text: Option<Cow<'a, str>>,
    /// The same as HTML. With `text`, readers choose.
    #[serde(borrow, default)]
    pub(super) html: Option<Cow<'a, str>>,
    /// Files.
    #[serde(borrow, default)]
    pub(super) attachments: Vec<Attachment<'a>>,
    /// More header fields: a value, or several. Not those that other fields here make.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Values>,
    /// The stream; without it, the token's.
    pub(super) stream: Option<String>,
    /// Words by which reports group.
    #[serde(default)]
    pub(super) tags: Vec<String>,
    /// Facts of the application's own, by name: they stand in every event of the message, and nowhere else.
    #[serde(default)]
    pub(super) meta: BTreeMap<String, String>,
    /// Before when it is not to be sent.
    #[schema(format = DateTime, example = "2030-01-31T08:00:00Z")]
    pub(super) send_at: Option<String>,
    /// How it stands among others of its stream: -9 to 9, the higher the sooner; no higher than the token's user may ask for. Without it, as that
    /// user's mail does.
    pub(super) priority: Option<i8>,
    /// The whole message as MIME, in base64, instead of `reply_to`, `subject`, `text`, `html`, `attachments` and `headers`. `from`, `to`, `cc`
    /// and `bcc` are the envelope alone.
    #[serde(borrow, default)]
    pub(super) raw: Option<Cow<'a, str>>,
}

/// A mailbox: `ann@example.org`, `Ann <ann@example.org>`, or an object.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a mailbox: a text, or an object of `address` and `name`")]
pub(super) enum Mailbox {
    /// As in a header field.
    #[schema(example = "Ann <ann@example.org>")]
    Text(String),
    /// In parts.
    Parts(MailboxParts),
}

/// A mailbox in parts.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(try_from = "serde_json::Map<String, serde_json::Value>")]
pub(super) struct MailboxParts {
    /// `ann@example.org`.
    pub(super) address: String,
    /// Whose it is.
    pub(super) name: Option<String>,
}

/// From an object alone: serde would take a list for one too, and its second mailbox for the first one's name.
impl TryFrom<serde_json::Map<String, serde_json::Value>> for MailboxParts {
    type Error = &'static str;
    fn try_from(mut parts: serde_json::Map<String, serde_json::Value>) -> Result<Self, Self::Error> {
        const SHAPE: &str = "a mailbox is a text, or an object of `address` and `name`";
        let mut text = |key| match parts.remove(key) {
            Some(serde_json::Value::String(text)) => Ok(Some(text)),
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(_) => Err(SHAPE),
        };
        let (address, name) = (text("address")?.ok_or(SHAPE)?, text("name")?);
        if parts.is_empty() { Ok(Self { address, name }) } else { Err(SHAPE) }
    }
}

/// One mailbox or several.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a mailbox or a list of them")]
pub(super) enum Mailboxes {
    /// One.
    One(Mailbox),
    /// Several.
    Many(Vec<Mailbox>),
}

impl Default for Mailboxes {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Mailboxes {
    pub(super) fn as_slice(&self) -> &[Mailbox] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// The value of a header field, or the values of several of one name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text or a list of texts")]
pub(super) enum Values {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Values {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// A file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Attachment<'a> {
    /// The name that it is saved under.
    #[serde(default)]
    pub(super) filename: Option<String>,
    /// Its media type; without it, `application/octet-stream`.
    #[serde(default)]
    #[schema(example = "application/pdf")]
    pub(super) content_type: Option<String>,
    /// Its bytes in base64.
    #[serde(borrow)]
    pub(super) content: Cow<'a, str>,
    /// Shown where the HTML says `<img src="cid:…">` with this, instead of being listed as a file.
    #[serde(default)]
    #[schema(example = "logo")]
    pub(super) cid: Option<String>,
}

/// Several messages, each with an answer of its own.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes what is read message by message, so that a bad one spoils no other")]
pub(super) struct Batch<'a> {
    /// The messages.
    messages: Vec<Draft<'a>>,
}
