//! Stream sockets and their halves.

use std::os::fd::{AsFd, RawFd};

use tokio::net::{TcpStream, UnixStream, tcp, unix};
use zc_core::PollFd;

use crate::{Downstream, ReadReady, Registered, Sink, Source, TokioIo, Upstream, WriteReady};

macro_rules! source {
    ($($ty:ty: $stream:ty, $registered:ident;)*) => {$(
        impl Source<TokioIo> for $ty {
            fn upstream(&mut self) -> Upstream<'_, TokioIo> {
                let stream: &$stream = (*self).as_ref();
                Upstream::fd(PollFd::socket(stream.as_fd())).ends_for_good()
            }
        }
        impl ReadReady for $ty {
            fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
                Registered::$registered(self.as_ref()).matching(fd)
            }
        }
    )*};
}

macro_rules! sink {
    ($($ty:ty: $stream:ty, $registered:ident;)*) => {$(
        impl Sink<TokioIo> for $ty {
            fn downstream(&mut self) -> Downstream<'_, TokioIo> {
                let stream: &$stream = (*self).as_ref();
                Downstream::fd(PollFd::socket(stream.as_fd()))
            }
        }
        impl WriteReady for $ty {
            fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
                Registered::$registered(self.as_ref()).matching(fd)
            }
        }
    )*};
}

source! {
    TcpStream: TcpStream, tcp;
    tcp::OwnedReadHalf: TcpStream, tcp;
    tcp::ReadHalf<'_>: TcpStream, tcp;
    UnixStream: UnixStream, unix;
    unix::OwnedReadHalf: UnixStream, unix;
    unix::ReadHalf<'_>: UnixStream, unix;
}

sink! {
    TcpStream: TcpStream, tcp;
    tcp::OwnedWriteHalf: TcpStream, tcp;
    tcp::WriteHalf<'_>: TcpStream, tcp;
    UnixStream: UnixStream, unix;
    unix::OwnedWriteHalf: UnixStream, unix;
    unix::WriteHalf<'_>: UnixStream, unix;
}
