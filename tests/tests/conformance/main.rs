//! The test kits for types of your own, tested against types that are wrong on purpose.

/// zc-std's kit passes types that are right, and fails others with the right words.
mod of_std;
/// zc-tokio's kit, for wrappers of its streams, does the same.
mod of_tokio;
