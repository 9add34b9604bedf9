//! What the caller of the classifier knows beside the reply.

/// What is known beside the reply.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// The provider's name (`google`, or the registrable domain of the MX).
    pub provider: Option<&'a str>,
    /// The host that answered.
    pub mx_host: Option<&'a str>,
}
