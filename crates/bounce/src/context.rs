//! The context of a reply: whatever the caller knows besides the reply itself.

/// What the caller knows about the receiver.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// The provider's name: `google`, or the registrable domain of the MX.
    pub provider: Option<&'a str>,
    /// The host that replied.
    pub mx_host: Option<&'a str>,
}
