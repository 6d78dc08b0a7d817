use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};

use zc_std::{Copier, Downstream, Mechanism, PageSharing, Side, Sink};
use zc_testkit::data::{self, assert_same};
use zc_testkit::ends::{From, To};
use zc_testkit::{fds, files};

const LEN: usize = 300_000;

pub(super) struct Quota<W> {
    pub(super) inner: W,
    pub(super) left: u64,
}

impl<W: Write> Write for Quota<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buf.len(), |left| left.min(buf.len()));
        let n = self.inner.write(&buf[..most])?;
        self.left -= n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Sink> Sink for Quota<W> {
    fn downstream(&mut self) -> Downstream<'_> {
        Downstream::through(&mut self.inner).limit(self.left)
    }
    fn delivered(&mut self, n: u64) {
        self.left -= n;
    }
}

#[test]
fn every_mechanism_stops_at_the_limit() {
    use PageSharing::{Always, Sockets};
    let table = [
        (From::File, To::File, Sockets, Mechanism::CopyFileRange),
        (From::File, To::Tcp4, Sockets, Mechanism::Sendfile),
        (From::File, To::Pipe, Always, Mechanism::Splice),
        (From::Tcp4, To::Unix, Sockets, Mechanism::Splice),
        (From::Pipe, To::Pipe, Sockets, Mechanism::Splice),
        (From::Unix, To::File, Sockets, Mechanism::Splice),
        (From::Tcp4, To::Sink, Sockets, Mechanism::ReadWrite),
        (From::Tcp4, To::Null, Sockets, Mechanism::Discard),
        (From::Plain, To::Tcp4, Sockets, Mechanism::ReadWrite),
        (From::File, To::Plain, Sockets, Mechanism::ReadWrite),
    ];
    for (from, to, sharing, mechanism) in table {
        for quota in [0, 1, 1000, 100_000, LEN as u64 - 1] {
            let _leaks = fds::no_leaks();
            let (mut giver, mut taker) = (from.open(data::bytes(1, LEN)), to.open());
            let mut copier = Copier::new().adaptive(false).page_sharing(sharing);
            let mut sink = Quota { inner: &mut taker.sink, left: quota };
            let error = copier.copy(&mut giver.source, &mut sink).unwrap_err();
            let what = format!("{from:?} to {to:?}, {quota}: {error}");
            assert_eq!((error.kind(), error.side()), (ErrorKind::WriteZero, Some(Side::Sink)));
            assert_eq!((error.moved(), sink.left), (quota, 0), "{what}");
            assert_eq!(copier.report().moved_by(mechanism), quota, "{what}");
            // A sink's own `write` gets its bytes before it has refused one.
            assert!(copier.in_flight() == 1 || to == To::Plain, "{what}");
            let mut all = taker.finish().unwrap_or(giver.data[..quota as usize].to_vec());
            assert_eq!(all.len() as u64, quota, "{what}");
            all.append(&mut copier.take_residue());
            all.append(&mut giver.rest());
            assert_same(&all, &giver.data);
            drop(giver);
        }
    }
}

/// The smallest limit applies, below and above a buffer that is flushed first.
#[test]
fn the_smallest_limit_on_the_way_applies() {
    for (outer, inner) in [(500, 100_000), (100_000, 500), (1000, 1000)] {
        for held in [0, 1, 200] {
            let _leaks = fds::no_leaks();
            let (mut source, to) = (files::holding(&data::bytes(2, LEN)), files::empty());
            let buffer = BufWriter::new(Quota { inner: &to, left: inner });
            let mut sink = Quota { inner: buffer, left: outer };
            sink.write_all(&vec![9; held]).unwrap();
            let least = outer.min(inner);
            let error = zc_std::copy(&mut source, &mut sink).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WriteZero);
            sink.flush().unwrap();
            assert_eq!((sink.left, sink.inner.get_ref().left), (outer - least, inner - least));
            let want = [vec![9; held], data::bytes(2, LEN)].concat();
            assert_same(&files::contents(&to), &want[..least as usize]);
            drop(sink);
        }
    }
}

/// Bytes in a layer's buffer of the source are seen to be too many, and stay there.
#[test]
fn buffered_bytes_stay_where_they_are() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(3, 100);
    let to = files::empty();
    let mut sink = Quota { inner: &to, left: 60 };
    let (mut source, mut copier) = (&data[..], Copier::new());
    let error = copier.copy(&mut source, &mut sink).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (ErrorKind::WriteZero, 60));
    assert_eq!((source, copier.in_flight()), (&data[60..], 0));

    // The next sink has room for a part of the rest, and the one after it for all.
    sink.left = 25;
    copier.resume(&mut source, &mut sink).unwrap_err();
    sink.left = 15;
    assert_eq!(copier.resume(&mut source, &mut sink).unwrap().moved(), 15);
    assert_same(&files::contents(&to), &data);
}

/// Bytes in flight from before, in memory or in a pipe, are more than fits.
#[test]
fn what_is_in_flight_keeps_to_the_limit() {
    for from in [From::File, From::Unix, From::Plain] {
        let _leaks = fds::no_leaks();
        let mut giver = from.open(data::bytes(4, LEN));
        let mut source = (&mut giver.source).take(LEN as u64);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut copier = Copier::new().adaptive(false);
        copier.copy(&mut source, &mut &full).unwrap_err();
        let in_flight = copier.in_flight();
        assert!(in_flight > 100, "{from:?}: {in_flight}");

        let (to, mut moved) = (files::empty(), 0);
        for left in [0, 1, 99, in_flight as u64 - 100, LEN as u64 - in_flight as u64 - 1] {
            let mut sink = Quota { inner: &to, left };
            moved += copier.copy(&mut source, &mut sink).unwrap_err().moved();
            assert_eq!(sink.left, 0);
        }
        assert_eq!((moved, copier.in_flight()), (LEN as u64 - 1, 1));
        assert_eq!(copier.copy(&mut source, &mut &to).unwrap().moved(), 1);
        assert_same(&files::contents(&to), &giver.data);
        drop(giver);
    }
}
