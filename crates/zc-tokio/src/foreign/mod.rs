//! What tokio's types say of themselves: one file per family.

#[cfg(feature = "process")]
mod children;
#[cfg(feature = "fs")]
mod files;
mod memory;
mod pipes;
mod sockets;
mod wrappers;

/// Types that only their own `poll_read` can take bytes from.
macro_rules! opaque_source {
    ($($(@[$($params:tt)*])? $ty:ty;)*) => {$(
        impl$(<$($params)*>)? crate::Source<crate::TokioIo> for $ty {}
        impl$(<$($params)*>)? crate::ReadReady for $ty {}
    )*};
}

/// Types that only their own `poll_write` can deliver to.
macro_rules! opaque_sink {
    ($($(@[$($params:tt)*])? $ty:ty;)*) => {$(
        impl$(<$($params)*>)? crate::Sink<crate::TokioIo> for $ty {}
        impl$(<$($params)*>)? crate::WriteReady for $ty {}
    )*};
}

use {opaque_sink, opaque_source};
