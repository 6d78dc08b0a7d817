//! The short forms of the fault explorer, and what it has found.

/// The fuzz target's corpus, replayed without a fuzzer.
mod corpus;
/// What the fault explorer has found, each as a test of its own.
mod regressions;
/// The fault explorer's short form, which runs with every `cargo test`.
mod short_form;
/// The async driver under faults: the short form.
mod under_tokio;
