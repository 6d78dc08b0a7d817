//! A buffering sink is flushed whenever the kernel is about to move bytes past it, and only then.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::net::UnixStream;

use zc_std::{Copier, Downstream, Opaque, Sink, Source, Upstream, hook};
use zc_testkit::fds;

fn content(file: &mut File) -> String {
    file.rewind().unwrap();
    let mut all = String::new();
    file.read_to_string(&mut all).unwrap();
    all
}

/// Puts a header in front of each body of this many bytes. Headers can only be read; the kernel moves the bodies.
struct Framed<S> {
    inner: S,
    bodies: u8,
    body: u64,
    left: u64,
}

impl<S: Read> Read for Framed<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left > 0 {
            let n = self.inner.by_ref().take(self.left).read(buf)?;
            self.left -= n as u64;
            return Ok(n);
        }
        if self.bodies == 0 {
            return Ok(0);
        }
        buf[0] = b'0' + self.bodies;
        self.bodies -= 1;
        self.left = self.body;
        Ok(1)
    }
}

impl<S: Source> Source for Framed<S> {
    fn upstream(&mut self) -> Upstream<'_> {
        match self.left {
            0 => Upstream::opaque(),
            left => Upstream::through(&mut self.inner).limit(left),
        }
    }
    fn taken(&mut self, n: u64) {
        self.left -= n;
    }
}

#[test]
fn every_body_flushes_the_header_before_it() {
    let _leaks = fds::no_leaks();
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(b"aaaaabbbbbccccc").unwrap();
    let mut file = tempfile::tempfile().unwrap();

    let mut source = Framed { inner: &stream, bodies: 3, body: 5, left: 0 };
    let mut sink = BufWriter::new(&file);
    sink.write_all(b"<").unwrap();
    assert_eq!(zc_std::copy(&mut source, &mut sink).unwrap(), 18);
    sink.write_all(b">").unwrap();
    sink.into_inner().unwrap();

    assert_eq!(content(&mut file), "<3aaaaa2bbbbb1ccccc>");
}

#[test]
fn a_source_read_and_spliced_by_turns_is_offloaded() {
    let _leaks = fds::no_leaks();
    const BODY: usize = 100_000;
    let (mut client, stream) = UnixStream::pair().unwrap();
    let sender = std::thread::spawn(move || client.write_all(&[b'x'; 2 * BODY]).unwrap());
    let mut file = tempfile::tempfile().unwrap();

    let recorder = hook::record();
    let mut source = Framed { inner: &stream, bodies: 2, body: BODY as u64, left: 0 };
    let report = Copier::new().adaptive(false).copy(&mut source, &mut file).unwrap();
    sender.join().unwrap();

    assert_eq!(report.moved(), 2 * (BODY as u64 + 1));
    let body = "x".repeat(BODY);
    assert!(content(&mut file) == format!("2{body}1{body}"));
    assert!(!recorder.calls_to(hook::Syscall::Splice).is_empty());
    assert!(recorder.calls_to(hook::Syscall::Read).is_empty(), "the bodies were read");
}

#[test]
fn a_source_read_by_turns_out_of_the_sink_s_file_ends() {
    let _leaks = fds::no_leaks();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[b'a'; 50]).unwrap();
    let end = File::options().append(true).open(file.path()).unwrap();
    let from = file.reopen().unwrap();

    // The headers are not bytes of the file, and do not count against its length.
    let mut source = Framed { inner: &from, bodies: 9, body: 5, left: 0 };
    let report = Copier::new().adaptive(false).copy(&mut source, &mut &end).unwrap();
    assert_eq!(report.moved(), 9 * 6);

    let body = "a".repeat(5);
    let bodies: Vec<_> = (1..=9).rev().map(|i| format!("{i}{body}")).collect();
    assert_eq!(content(file.as_file_mut()), "a".repeat(50) + &bodies.concat());
}

/// Holds everything back; a signal interrupts its first flush.
struct Interrupted<'a> {
    held: Vec<u8>,
    file: &'a File,
    interrupted: bool,
}

impl Write for Interrupted<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.held.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.interrupted, true) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.file.write_all(&std::mem::take(&mut self.held))
    }
}

impl Sink for Interrupted<'_> {
    fn downstream(&mut self) -> Downstream<'_> {
        Downstream::through(&mut self.file).flush_first()
    }
}

#[test]
fn an_interrupted_flush_is_made_again() {
    let _leaks = fds::no_leaks();
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(b"second").unwrap();
    drop(client);
    let mut file = tempfile::tempfile().unwrap();
    let mut sink = Interrupted { held: b"first, ".to_vec(), file: &file, interrupted: false };
    assert_eq!(zc_std::copy(&mut &stream, &mut sink).unwrap(), 6);
    assert!(sink.interrupted);
    assert_eq!(content(&mut file), "first, second");
}

/// A writer that counts its flushes.
#[derive(Debug, Default)]
struct Flushed(u32, Vec<u8>);

impl Write for Flushed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.1.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0 += 1;
        Ok(())
    }
}

#[test]
fn nothing_is_flushed_where_all_is_written() {
    let _leaks = fds::no_leaks();
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(b"second").unwrap();
    drop(client);

    let mut sink = BufWriter::new(Opaque(Flushed::default()));
    sink.write_all(b"first, ").unwrap();
    assert_eq!(zc_std::copy(&mut &stream, &mut sink).unwrap(), 6);
    assert_eq!(sink.get_ref().0.0, 0, "flushes");
    assert_eq!(sink.into_inner().unwrap().0.1, b"first, second");
}
