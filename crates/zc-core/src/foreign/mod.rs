//! What std's types say of themselves: one file per family.
//!
//! They are here because of the orphan rule (see the crate's front page), and they are pure: they
//! name a descriptor, a buffer, a limit, and call nothing.

mod files;
mod memory;
mod pipes;
mod sockets;
mod stdio;
mod wrappers;

/// A type that is nothing but its descriptor: readable.
macro_rules! fd_source {
    ($($ty:ty $(, $end:ident)?;)*) => {$(
        impl crate::Source for $ty {
            #[inline]
            fn upstream(&mut self) -> crate::Upstream<'_> {
                crate::Upstream::fd(crate::AsRawPollFd::as_raw_poll_fd(self))$(.$end())?
            }
        }
    )*};
}

/// A type that is nothing but its descriptor: writable, and holding nothing back.
macro_rules! fd_sink {
    ($($ty:ty;)*) => {$(
        impl crate::Sink for $ty {
            #[inline]
            fn downstream(&mut self) -> crate::Downstream<'_> {
                crate::Downstream::fd(crate::AsRawPollFd::as_raw_poll_fd(self))
            }
        }
    )*};
}

use {fd_sink, fd_source};
