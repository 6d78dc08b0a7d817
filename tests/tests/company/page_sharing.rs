use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use zc_std::{Copier, Fd, Mechanism, PageSharing};
use zc_testkit::apart::apart;
use zc_testkit::each_cell::{each, pairs};
use zc_testkit::streams::{Plain, Stream, fill, nonblocking, until_waiting};
use zc_testkit::{fds, files};

/// This much fits between a sender that has sent all and a receiver that has read nothing.
const LEN: usize = 48 << 10;

const OLD: u8 = b'o';
const NEW: u8 = b'N';

/// Has the kernel share the pages of `file` with a stream: sendfile into a socket, splice into a pipe.
fn lend(file: &File, stream: Stream, to: &OwnedFd) {
    let (mut offset, mut left) = (0, LEN);
    while left > 0 {
        let n = if stream.is_socket() {
            rustix::fs::sendfile(to, file, Some(&mut offset), left)
        } else {
            let flags = rustix::pipe::SpliceFlags::empty();
            rustix::pipe::splice(file, Some(&mut offset), to, None, left, flags)
        };
        left -= n.unwrap();
    }
}

fn old_file() -> File {
    files::on_disk(&vec![OLD; LEN])
}

fn never(adaptive: bool) -> Copier {
    Copier::new().adaptive(adaptive).page_sharing(PageSharing::Never)
}

/// Returns what arrives, after the sender's file has been overwritten.
#[track_caller]
fn assert_old(file: &File, from: OwnedFd) {
    file.write_all_at(&vec![NEW; LEN], 0).unwrap();
    let mut got = Vec::new();
    Plain(from).read_to_end(&mut got).unwrap();
    let new = got.iter().filter(|&&byte| byte == NEW).count();
    assert_eq!((got.len(), new), (LEN, 0), "(bytes, those changed after they were delivered)");
}

/// The sender of a stream may have lent its pages, and may still write to them.
#[test]
fn what_a_sender_lent_is_not_lent_on() {
    apart(|| {
        let cells = pairs(&pairs(&Stream::ALL, &Stream::ALL), &[true, false]);
        each(cells, |&((source, sink), adaptive)| {
            let _leaks = fds::no_leaks();
            let file = old_file();
            let ((to, from), (out, into)) = (source.open(), sink.open());
            lend(&file, source, &to);
            until_waiting(&from, LEN);
            drop(to);
            let (mut from, mut out) = (Fd::new(from).unwrap(), Fd::new(out).unwrap());
            let report = never(adaptive).copy(&mut from, &mut out).unwrap();
            assert_eq!(report.moved(), LEN as u64);
            drop(out);
            assert_old(&file, into);
            assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64);
        });
    });
}

/// The same for what a copier's pipe took before the copier was told to share nothing.
#[test]
fn what_is_in_flight_is_not_lent_on() {
    apart(|| {
        let cells = pairs(&Stream::SOCKETS, &Stream::ALL);
        each(cells, |&(source, sink)| {
            let _leaks = fds::no_leaks();
            let file = old_file();
            let ((to, from), (out, into)) = (source.open(), sink.open());
            lend(&file, source, &to);
            until_waiting(&from, LEN);
            drop(to);
            // A full socket takes nothing, so that what was taken for it is in flight.
            let (full, _peer) = Stream::Unix.open();
            fill(&full);
            let mut full = Fd::new(nonblocking(full)).unwrap();
            let mut copier = Copier::new().adaptive(false);
            let mut from = Fd::new(from).unwrap();
            copier.copy(&mut from, &mut full).unwrap_err();
            assert_eq!(copier.in_flight(), LEN);
            let mut copier = copier.page_sharing(PageSharing::Never);
            let mut out = Fd::new(out).unwrap();
            assert_eq!(copier.copy(&mut from, &mut out).unwrap().moved(), LEN as u64);
            drop(out);
            assert_old(&file, into);
        });
    });
}

/// A file's own pages: here the copy itself is the sender.
#[test]
fn a_file_s_pages_are_copied() {
    apart(|| {
        each(pairs(&Stream::ALL, &[true, false]), |&(sink, adaptive)| {
            let _leaks = fds::no_leaks();
            let mut file = old_file();
            file.seek(SeekFrom::Start(0)).unwrap();
            let (out, into) = sink.open();
            let mut out = Fd::new(out).unwrap();
            let report = never(adaptive).copy(&mut &file, &mut out).unwrap();
            assert_eq!(report.moved(), LEN as u64);
            drop(out);
            assert_old(&file, into);
        });
    });
}

/// Into a file the file system copies the bytes. So splice shares nothing, and stays in use.
#[test]
fn bytes_are_still_spliced_into_files() {
    apart(|| {
        each(Stream::ALL, |&source| {
            let _leaks = fds::no_leaks();
            let file = old_file();
            let (to, from) = source.open();
            lend(&file, source, &to);
            until_waiting(&from, LEN);
            drop(to);
            let out = files::on_disk(b"");
            let report = never(false).copy(&mut Fd::new(from).unwrap(), &mut &out).unwrap();
            assert_eq!(report.moved_by(Mechanism::Splice), LEN as u64);
            file.write_all_at(&vec![NEW; LEN], 0).unwrap();
            assert!(files::contents(&out) == vec![OLD; LEN], "bytes changed after the copy");
        });
    });
}
