//! The test kits for types of your own, tested against types that are wrong on purpose.

/// The conformance kit passes what is right, and fails what is wrong with the right words.
mod of_std;
/// The test kit for wrappers of tokio's streams.
mod of_tokio;
