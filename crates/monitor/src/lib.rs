//! Events in; delivery log, traces, audits out.
