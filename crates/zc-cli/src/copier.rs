//! The one place that says how `zc` copies.

use zc_std::Copier;

/// The copier that every subcommand uses, the demo included. From a file into a file holes stay holes, as with
/// cp(1), also if the shell has opened the two.
pub(crate) fn copier() -> Copier {
    Copier::new().keep_holes(true)
}
