//! `dst.read_from(src)` for std's types and ours.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{
    self, BufWriter, Cursor, LineWriter, PipeWriter, Read, Stderr, StderrLock, Stdout, StdoutLock,
    Write,
};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ChildStdin;
use std::sync::Arc;

use crate::{Fd, FileAt, Opaque, Progress, ReadFrom, Sink, Source, WriteSink};

/// The [`ReadFrom`] parameter of the types this crate implements it for: copied with the kernel's
/// help.
#[derive(Debug)]
pub enum Kernel {}

macro_rules! read_from {
    ($($(@[$($params:tt)*])? $ty:ty;)*) => {$(
        impl$(<$($params)*>)? ReadFrom<Kernel> for $ty {
            fn read_from<Src: Read + Source>(&mut self, mut source: Src) -> io::Result<u64> {
                Ok(crate::engine::copy(&mut source, self)?)
            }
        }
    )*};
}

read_from! {
    File;
    &File;
    Arc<File>;
    TcpStream;
    &TcpStream;
    UnixStream;
    &UnixStream;
    PipeWriter;
    &PipeWriter;
    ChildStdin;
    &ChildStdin;
    Stdout;
    &Stdout;
    StdoutLock<'_>;
    Stderr;
    &Stderr;
    StderrLock<'_>;
    Vec<u8>;
    VecDeque<u8>;
    Cursor<Vec<u8>>;
    Cursor<&mut Vec<u8>>;
    Cursor<&mut [u8]>;
    Cursor<Box<[u8]>>;
    @[const N: usize] Cursor<[u8; N]>;
    &mut [u8];
    io::Sink;
    &io::Sink;
    io::Empty;
    &io::Empty;
    @[W: Write + Sink] BufWriter<W>;
    @[W: Write + Sink] LineWriter<W>;
    @[W: Write] Opaque<W>;
    @[T: AsFd] Fd<T>;
    @[F: AsFd] FileAt<F>;
    @[W: Write + Sink, F: FnMut(u64)] Progress<W, F>;
}

macro_rules! read_from_dyn {
    ($($ty:ty;)*) => {$(
        impl ReadFrom<Kernel> for $ty {
            fn read_from<S: Read + Source>(&mut self, mut source: S) -> io::Result<u64> {
                crate::copy(&mut source, self)
            }
        }
    )*};
}

read_from_dyn! {
    dyn WriteSink + '_;
    dyn WriteSink + Send + '_;
    dyn WriteSink + Send + Sync + '_;
}
