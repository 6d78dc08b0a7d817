//! How a target is to be written, as the options say.

/// What an ordinary new file gets, less the umask.
pub(crate) const DEFAULT_MODE: u32 = 0o666;

/// How a target is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// What a new file is made with, less the umask; one that replaces another has its mode.
    pub(crate) mode: u32,
    pub(crate) sync: Sync,
    pub(crate) disposition: Disposition,
}

impl Manner {
    /// Without options.
    pub(crate) fn ordinary(mode: u32) -> Manner {
        Manner { mode, sync: Sync::Replacing, disposition: Disposition::Replace }
    }
}

/// What is on the disk before a copy is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Only what the kernel has written back by itself.
    Never,
    /// A file that takes the place of another: either of them survives a power cut.
    Replacing,
    /// Every file, and its name.
    Always,
}

/// Which file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// A new one, which takes the name once it is complete.
    Replace,
    /// The old one, if there is one.
    InPlace,
    /// The old one, after what it holds already.
    Resume,
    /// A new one, where there is none.
    New,
}
