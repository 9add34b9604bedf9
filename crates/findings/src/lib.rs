//! What the tallies say about a relay: findings by published rules, the incidents that are made of them, and a health score.
//!
//! Level 2: of the workspace it may use `mail` and `tallies`. It is pure: it has no clock, no socket and no disk.
