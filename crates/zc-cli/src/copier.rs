//! The one place that says how `zc` copies.

use zc_std::Copier;

/// The copier that every subcommand uses, the demo included.
pub(crate) fn copier() -> Copier {
    Copier::new()
}
