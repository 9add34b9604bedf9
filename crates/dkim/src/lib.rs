//! The DKIM signer: keys, which key signs what, the signature itself.
