//! Bytes that a layer holds, and the limits and descriptors that have nothing to do with them.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use zc_std::hook::{self, Syscall};
use zc_std::{Copier, Opaque, PageSharing, ReadSource, Source, Upstream, WriteSink};
use zc_testkit::fds;

/// A stream that yields `bytes` and ends.
fn stream(bytes: &[u8]) -> UnixStream {
    let (mut far, near) = UnixStream::pair().unwrap();
    far.write_all(bytes).unwrap();
    near
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251) as u8).collect()
}

fn copied(source: &mut dyn ReadSource, adaptive: bool) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    let report = Copier::new().adaptive(adaptive).copy(source, &mut file).unwrap();
    let mut got = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut got).unwrap();
    assert_eq!(report.moved(), got.len() as u64);
    got
}

/// A `BufReader` over a `Take` holds bytes that have passed the limit, which is now 0. These bytes are the next to
/// go.
#[test]
fn a_buffer_outlives_the_limit_below_it() {
    let _leaks = fds::no_leaks();
    let data = bytes(5000);
    for adaptive in [true, false] {
        let mut source = BufReader::new(stream(&data).take(3000));
        assert_eq!(source.fill_buf().unwrap().len(), 3000);
        source.consume(1);
        assert_eq!(source.get_ref().limit(), 0);

        assert!(copied(&mut source, adaptive) == data[1..3000]);
        assert!(source.buffer().is_empty());
        assert_eq!(source.read(&mut [0]).unwrap(), 0);
    }
}

/// The same with bytes left below the limit, and with a limit around the buffer.
#[test]
fn limits_on_both_sides_of_a_buffer_are_kept() {
    let _leaks = fds::no_leaks();
    let data = bytes(5000);
    for adaptive in [true, false] {
        let mut source = BufReader::with_capacity(100, stream(&data).take(150)).take(120);
        assert_eq!(source.read(&mut [0; 10]).unwrap(), 10);
        assert_eq!((source.limit(), source.get_ref().get_ref().limit()), (110, 50));

        assert!(copied(&mut source, adaptive) == data[10..120]);
        assert_eq!((source.limit(), source.get_ref().get_ref().limit()), (0, 30));
        source.set_limit(u64::MAX);
        assert!(copied(&mut source, adaptive) == data[120..150]);
    }
}

/// The same where only `read` knows the bytes.
#[test]
fn a_buffer_outlives_the_limit_below_it_over_an_opaque_source() {
    let _leaks = fds::no_leaks();
    let data = bytes(5000);
    let mut source = BufReader::new(Opaque(stream(&data)).take(3000));
    assert_eq!(source.fill_buf().unwrap().len(), 3000);
    assert_eq!(source.get_ref().limit(), 0);
    assert!(copied(&mut source, true) == data[..3000]);
}

/// The same in a chain, where the limit of 0 is that of one link.
#[test]
fn a_buffer_outlives_the_limit_below_it_in_a_chain() {
    let _leaks = fds::no_leaks();
    let data = bytes(5000);
    let mut first = BufReader::new(stream(&data).take(3000));
    assert_eq!(first.fill_buf().unwrap().len(), 3000);
    let mut source = first.chain(stream(b"second"));
    let got = copied(&mut source, true);
    assert!(got[..3000] == data[..3000]);
    assert_eq!(&got[3000..], b"second");
}

/// One length byte, and that many hundred bytes. Only `read` knows where the bodies are; the kernel may move them.
struct Framed<S> {
    inner: S,
    body: u64,
    reads: usize,
}

impl<S: Read> Read for Framed<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.body == 0 {
            let mut length = [0];
            if self.inner.read(&mut length)? == 0 {
                return Ok(0);
            }
            self.body = u64::from(length[0]) * 100;
        }
        self.reads += 1;
        // `read` gives away a little of each body, so that the sink has something to hold back.
        let room = buf.len().min(10);
        let n = self.inner.read(&mut buf[..room])?;
        self.body -= n as u64;
        Ok(n)
    }
}

impl<S: Source> Source for Framed<S> {
    fn upstream(&mut self) -> Upstream<'_> {
        match self.body {
            0 => Upstream::opaque(),
            body => Upstream::through(&mut self.inner).limit(body),
        }
    }
    fn taken(&mut self, n: u64) {
        self.body -= n;
    }
}

/// The bytes of a source that is opaque at times go into the sink's buffer then. Later bytes, which the kernel moves,
/// must not overtake them.
#[test]
fn a_source_that_is_opaque_at_times_keeps_its_order_through_a_buffering_sink() {
    let _leaks = fds::no_leaks();
    let (mut framed, mut bodies) = (Vec::new(), Vec::<u8>::new());
    for length in [3, 1, 50, 7, 120] {
        let body = bytes(length as usize * 100);
        framed.push(length);
        framed.extend(&body);
        bodies.extend(&body);
    }
    for adaptive in [true, false] {
        let mut source = Framed { inner: stream(&framed), body: 0, reads: 0 };
        let mut sink = BufWriter::new(tempfile::tempfile().unwrap());
        let sink_dyn: &mut dyn WriteSink = &mut sink;
        let report = Copier::new().adaptive(adaptive).copy(&mut source, sink_dyn).unwrap();
        assert_eq!(report.moved(), bodies.len() as u64);
        assert_eq!(source.reads, 5, "one `read` a frame, the rest past it");

        let mut file = sink.into_inner().unwrap();
        let mut got = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut got).unwrap();
        assert!(got == bodies);
    }
}

/// Stretches of several sources, one after the other. The descriptor changes in mid-copy, and with it the kind, and
/// the limit rises.
struct Stretches(Vec<(Box<dyn ReadSource>, u64)>);

impl Read for Stretches {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some((source, left)) = self.0.last_mut() else { return Ok(0) };
        let room = buf.len().min(*left as usize);
        let n = source.read(&mut buf[..room])?;
        self.taken(n as u64);
        Ok(n)
    }
}

impl Source for Stretches {
    fn upstream(&mut self) -> Upstream<'_> {
        match self.0.last_mut() {
            Some((source, left)) => Upstream::through(source).limit(*left),
            None => Upstream::spent(),
        }
    }
    fn taken(&mut self, n: u64) {
        let Some((_, left)) = self.0.last_mut() else { return };
        *left -= n;
        if *left == 0 {
            self.0.pop();
        }
    }
}

#[test]
fn a_source_that_changes_descriptors_loses_nothing() {
    let _leaks = fds::no_leaks();
    let data = bytes(60_000);
    let file = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    };
    for adaptive in [true, false] {
        let stretches: [(Box<dyn ReadSource>, u64); 5] = [
            (Box::new(file(&data)), 10),
            (Box::new(stream(&data)), 50_000),
            (Box::new(io::Cursor::new(data.clone())), 77),
            (Box::new(file(&data)), 30_000),
            (Box::new(BufReader::new(stream(&data))), 5),
        ];
        let want: Vec<u8> =
            stretches.iter().flat_map(|(_, n)| &data[..*n as usize]).copied().collect();
        let mut source = Stretches(stretches.into_iter().rev().collect());
        assert!(copied(&mut source, adaptive) == want);

        // Into a socket, where files are sent and not copied.
        let stretches: [(Box<dyn ReadSource>, u64); 3] = [
            (Box::new(stream(&data)), 20_000),
            (Box::new(file(&data)), 30_000),
            (Box::new(stream(&data)), 40_000),
        ];
        let mut source = Stretches(stretches.into_iter().rev().collect());
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            far.read_to_end(&mut got).unwrap();
            got
        });
        Copier::new().adaptive(adaptive).copy(&mut source, &mut near).unwrap();
        drop(near);
        assert!(
            reader.join().unwrap() == [&data[..20_000], &data[..30_000], &data[..40_000]].concat()
        );
    }
}

/// Each descriptor has a plan of its own. A file after a socket must not be spliced like the socket: that would lend
/// its pages.
#[test]
fn a_source_that_changes_descriptors_lends_no_pages_unasked() {
    let _leaks = fds::no_leaks();
    let data = bytes(60_000);
    for sharing in [PageSharing::Sockets, PageSharing::Never] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&data).unwrap();
        file.rewind().unwrap();
        let descriptor = Some(file.as_raw_fd());
        let mut source =
            Stretches(vec![(Box::new(file), 50_000), (Box::new(stream(&data)), 40_000)]);
        let (mut far, mut near) = std::io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&near, 1 << 20).unwrap();

        let recorder = hook::record();
        let mut copier = Copier::new().adaptive(false).page_sharing(sharing);
        copier.copy(&mut source, &mut near).unwrap();

        let splices = recorder.calls_to(Syscall::Splice);
        // Bytes from a socket may be pages of a file, too, so they are not lent either with `Never`.
        assert_eq!(splices.is_empty(), sharing == PageSharing::Never, "{splices:?}");
        assert!(splices.iter().all(|splice| splice.call.from != descriptor), "{splices:?}");
        assert!(recorder.calls_to(Syscall::Sendfile).is_empty());
        let mut got = vec![0; 90_000];
        far.read_exact(&mut got).unwrap();
        assert!(got == [&data[..40_000], &data[..50_000]].concat());
    }
}
