//! A message as JSON. `compose` makes the mail message from it.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use utoipa::ToSchema;

/// A message to send.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"from": "Shop <shop@example.com>", "to": "ann@example.org", "subject": "Your order", "text": "It is on its way."}))]
pub(super) struct Draft<'a> {
    /// The From field; also the address that failure notices go to, unless `return_path` is given.
    pub(super) from: Option<Mailbox>,
    /// The address that failure notices go to; empty: no notices.
    pub(super) return_path: Option<String>,
    /// Recipients.
    #[serde(default)]
    pub(super) to: Mailboxes,
    /// More recipients, in the Cc field.
    #[serde(default)]
    pub(super) cc: Mailboxes,
    /// More recipients, hidden from the others.
    #[serde(default)]
    pub(super) bcc: Mailboxes,
    /// The Reply-To field: where answers go.
    #[serde(default)]
    pub(super) reply_to: Mailboxes,
    /// The Subject field.
    pub(super) subject: Option<String>,
    /// The body as plain text.
    #[serde(borrow, default)]
    pub(super) text: Option<Cow<'a, str>>,
    /// The body as HTML. If `text` is given too, mail programs choose between them.
    #[serde(borrow, default)]
    pub(super) html: Option<Cow<'a, str>>,
    /// Attached files.
    #[serde(borrow, default)]
    pub(super) attachments: Vec<Attachment<'a>>,
    /// More header fields, each with one value or several. Fields that other properties set are not allowed.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Values>,
    /// The stream; default: that of the token's user.
    pub(super) stream: Option<String>,
    /// Tags by which reports group messages.
    #[serde(default)]
    pub(super) tags: Vec<String>,
    /// The application's own data, by name. It appears in every log event of the message, and nowhere else.
    #[serde(default)]
    pub(super) meta: BTreeMap<String, String>,
    /// The time before which the message is not sent.
    #[schema(format = DateTime, example = "2030-01-31T08:00:00Z")]
    pub(super) send_at: Option<String>,
    /// The priority within the stream: -9 to 9, higher is sooner; no higher than the token's user may ask for. Default: the priority of
    /// that user's mail.
    pub(super) priority: Option<i8>,
    /// The whole message as MIME, in base64, instead of `reply_to`, `subject`, `text`, `html`, `attachments` and `headers`. `from`, `to`, `cc`
    /// and `bcc` then set only the envelope.
    #[serde(borrow, default)]
    pub(super) raw: Option<Cow<'a, str>>,
}

/// A mailbox: `ann@example.org`, `Ann <ann@example.org>`, or an object.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "give a mailbox: a text such as \"Ann <ann@example.org>\", or an object of `address` and `name`")]
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
    /// The display name.
    pub(super) name: Option<String>,
}

/// Accepts an object only: serde would also accept a list, and take its second mailbox for the first one's name.
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
#[serde(untagged, expecting = "give a mailbox, such as \"Ann <ann@example.org>\", or a list of mailboxes")]
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

/// The value of a header field, or the values of several fields of the same name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "give a text or a list of texts")]
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

/// An attached file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Attachment<'a> {
    /// Its file name.
    #[serde(default)]
    pub(super) filename: Option<String>,
    /// Its media type; default: `application/octet-stream`.
    #[serde(default)]
    #[schema(example = "application/pdf")]
    pub(super) content_type: Option<String>,
    /// Its contents in base64.
    #[serde(borrow)]
    pub(super) content: Cow<'a, str>,
    /// The content id: the file is shown where the HTML has `<img src="cid:…">` with it, instead of being listed as an attachment.
    #[serde(default)]
    #[schema(example = "logo")]
    pub(super) cid: Option<String>,
}

/// Several messages, each with its own result.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes a body that is read message by message, so that a bad one does not affect the others")]
pub(super) struct Batch<'a> {
    /// The messages.
    messages: Vec<Draft<'a>>,
}
