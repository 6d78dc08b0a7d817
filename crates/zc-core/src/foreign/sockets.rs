//! Stream sockets.
//!
//! Datagram sockets are not here: they keep message boundaries, and std gives them no `Read`.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::{fd_sink, fd_source};
use crate::IsStream;

macro_rules! socket {
    ($($ty:ty: $is_tcp:literal;)*) => {$(
        impl IsStream for $ty {
            #[inline]
            fn is_socket(&self) -> bool {
                true
            }
            #[inline]
            fn is_tcp(&self) -> bool {
                $is_tcp
            }
        }
    )*};
}

socket! {
    TcpStream: true;
    UnixStream: false;
}

fd_source! {
    TcpStream, ends_for_good;
    &TcpStream, ends_for_good;
    UnixStream, ends_for_good;
    &UnixStream, ends_for_good;
}

fd_sink! {
    TcpStream;
    &TcpStream;
    UnixStream;
    &UnixStream;
}
