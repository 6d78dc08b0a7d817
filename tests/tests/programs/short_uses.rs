//! The uses that must compile and stay this short.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::net::{TcpListener, TcpStream};

use zc_std::{ReadFrom, ReadSource, Source, Upstream};
use zc_testkit::fds;

fn upload(bytes: &[u8]) -> io::Result<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.write_all(bytes)?;
    Ok(listener.accept()?.0)
}

fn holds(file: &mut File, want: &[u8]) -> io::Result<()> {
    let mut got = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut got)?;
    assert_eq!(got, want);
    Ok(())
}

#[test]
fn a_limited_stream_is_copied_by_value() -> io::Result<()> {
    let _leaks = fds::no_leaks();
    let (mut file, stream, n) = (tempfile::tempfile()?, upload(b"hello, world")?, 5);

    file.read_from(stream.take(n))?;

    holds(&mut file, b"hello")
}

#[test]
fn a_limited_stream_is_copied_by_reference() -> io::Result<()> {
    let _leaks = fds::no_leaks();
    let (mut file, stream) = (tempfile::tempfile()?, upload(b"hello, world")?);
    let mut limited = (&stream).take(100);

    file.read_from(&mut limited)?;

    assert_eq!(limited.limit(), 88);
    holds(&mut file, b"hello, world")
}

#[test]
fn a_buffered_stream_is_copied() -> io::Result<()> {
    let _leaks = fds::no_leaks();
    let (mut file, stream) = (tempfile::tempfile()?, upload(b"hello, world")?);

    zc_std::copy(&mut BufReader::new(&stream), &mut file)?;

    holds(&mut file, b"hello, world")
}

#[test]
fn a_custom_destination_opts_in() -> io::Result<()> {
    let _leaks = fds::no_leaks();
    struct Upload {
        file: File,
        received: u64,
    }

    impl ReadFrom for Upload {
        fn read_from<S: ReadSource>(&mut self, src: S) -> io::Result<u64> {
            let n = self.file.read_from(src)?;
            self.received += n;
            Ok(n)
        }
    }

    let mut upload_to = Upload { file: tempfile::tempfile()?, received: 0 };
    assert_eq!(upload_to.read_from(upload(b"hello, ")?)?, 7);
    assert_eq!(ReadFrom::read_from(&mut &mut upload_to, upload(b"world")?.take(9))?, 5);
    assert_eq!(Box::new(&mut upload_to).read_from(&b"!"[..])?, 1);
    assert_eq!(upload_to.received, 13);
    holds(&mut upload_to.file, b"hello, world!")
}

#[test]
fn a_custom_source_opts_in() -> io::Result<()> {
    let _leaks = fds::no_leaks();
    struct Metered<S> {
        inner: S,
        bytes: u64,
    }

    impl<S: Read> Read for Metered<S> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.inner.read(buf)?;
            self.bytes += n as u64;
            Ok(n)
        }
    }

    impl<S: Source> Source for Metered<S> {
        fn upstream(&mut self) -> Upstream<'_> {
            Upstream::through(&mut self.inner)
        }
        fn taken(&mut self, n: u64) {
            self.bytes += n;
        }
    }

    let mut file = tempfile::tempfile()?;
    let mut metered = Metered { inner: upload(b"hello, world")?, bytes: 0 };
    file.read_from(&mut metered)?;
    assert_eq!(metered.bytes, 12);
    holds(&mut file, b"hello, world")
}

/// A function that is generic over sinks names the one parameter.
#[test]
fn a_generic_function_reads_from_a_source() -> io::Result<()> {
    let _leaks = fds::no_leaks();
    fn store<By>(to: &mut impl ReadFrom<By>, from: impl ReadSource) -> io::Result<u64> {
        to.read_from(from)
    }
    let mut file = tempfile::tempfile()?;
    assert_eq!(store(&mut file, upload(b"hello")?)?, 5);
    let mut memory = Vec::new();
    assert_eq!(store(&mut memory, &b"hello"[..])?, 5);
    holds(&mut file, &memory)
}

/// Sources and sinks as trait objects, as a server keeps them.
#[test]
fn trait_objects_are_copied() -> io::Result<()> {
    let _leaks = fds::no_leaks();
    let sources: Vec<Box<dyn ReadSource>> =
        vec![Box::new(upload(b"one ")?.take(4)), Box::new(&b"two "[..]), Box::new(io::empty())];
    let file = RefCell::new(tempfile::tempfile()?);
    for mut source in sources {
        let sink: &mut dyn zc_std::WriteSink = &mut *file.borrow_mut();
        zc_std::copy(&mut source, sink)?;
    }
    holds(&mut file.into_inner(), b"one two ")
}
