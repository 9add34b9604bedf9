//! The crash-safe store: one log, sled as its index.
