//! A transfer that was made, whole or in part.

use crate::account::Account;
use crate::end::About;

/// Which ends, and what went between them.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) from: About,
    pub(crate) to: About,
    pub(crate) account: Account,
    /// How many bytes the peer has sent back.
    pub(crate) replied: Option<u64>,
}
