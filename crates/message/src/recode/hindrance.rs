//! Why a message stays as it is though not every receiver takes it.

/// What hinders a message, or a part of it, from being encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// It was signed before it came (DKIM, ARC).
    Signed,
    /// A part is signed or encrypted (S/MIME, OpenPGP).
    SignedPart,
    /// A part is made of parts, and nothing says where they begin.
    NoBoundary,
    /// A part has a transfer encoding that the relay does not know.
    Encoding,
    /// There are parts within parts beyond any need, or a header without an end.
    Structure,
    /// A field of its header has no such form: an address outside ASCII, or a long word that only programs read.
    Field,
}

impl Hindrance {
    /// The rest of the sentence "it cannot be encoded: …".
    pub fn reason(self) -> &'static str {
        match self {
            Self::Signed => "it was signed before it came here, and any change would break the signature",
            Self::SignedPart => "a part of it is signed or encrypted, and any change would break that",
            Self::NoBoundary => "it is a multipart message whose boundary is missing",
            Self::Encoding => "a part of it has a Content-Transfer-Encoding that the relay does not know",
            Self::Structure => "the structure of its parts cannot be read",
            Self::Field => "a field of its header has an address outside ASCII, or a word of more than 998 bytes",
        }
    }
}
