//! What Miri can run of the engine: copies between types that are not descriptors, and small ones between pipes. (It
//! has no splice, and of statx only what std asks.)

use std::io::{self, ErrorKind, Read, Write};

use zc_core::driver::{Next, Step};
use zc_core::{Downstream, Side, Sink, Source};

use super::{Transfer, drive};

/// Takes a few bytes at a time, and now and then none.
#[derive(Default)]
struct Slow {
    got: Vec<u8>,
    calls: u32,
}

impl Write for Slow {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = buf.len().min(7);
        self.got.extend_from_slice(&buf[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Slow {}

#[test]
fn every_byte_arrives_once_however_often_it_stops() {
    let (first, second) = ([1; 40], [2; 60]);
    let mut source = (&first[..]).chain(&second[..]).take(90);
    let (mut transfer, mut sink, mut moved) = (Transfer::default(), Slow::default(), 0);
    let mut outcome = drive(&mut transfer, &mut source, &mut sink);
    while let Err(error) = outcome {
        assert_eq!((error.kind(), error.side()), (ErrorKind::WouldBlock, Some(Side::Sink)));
        moved += error.moved();
        assert_eq!(moved, sink.got.len() as u64);
        assert_eq!(moved + transfer.in_flight() as u64, 90 - source.limit());
        transfer.resume();
        outcome = drive(&mut transfer, &mut source, &mut sink);
    }
    moved += outcome.unwrap();
    assert_eq!((moved, source.limit(), transfer.in_flight()), (90, 0, 0));
    assert_eq!(sink.got, [&first[..], &second[..50]].concat());
}

#[test]
fn what_is_in_flight_can_be_taken_to_another_thread() {
    let (from, mut peer) = io::pipe().unwrap();
    peer.write_all(b"hello").unwrap();
    let mut transfer = Transfer::default();
    let mut sink = Slow { calls: 2, ..Slow::default() };
    let error = drive(&mut transfer, &mut (&from).take(5), &mut sink).unwrap_err();
    assert_eq!((error.moved(), transfer.in_flight()), (0, 5));
    let residue = std::thread::spawn(move || transfer.take_residue()).join().unwrap();
    assert_eq!(residue, b"hello");
}

/// Steps until the copy has ended or failed.
fn step_on(
    transfer: &mut Transfer,
    source: &mut dyn Source,
    sink: &mut dyn Sink,
    budget: u64,
) -> (u64, u64, Next) {
    let (before, mut taken, mut delivered) = (transfer.in_flight() as u64, 0, 0);
    loop {
        let step: Step = transfer.step(source, sink, budget);
        taken += step.taken;
        delivered += step.delivered;
        assert_eq!(before + taken, delivered + transfer.in_flight() as u64);
        if !matches!(step.next, Next::Again) {
            return (taken, delivered, step.next);
        }
    }
}

#[test]
fn a_limit_is_kept_between_pipes() {
    let ((from, mut peer), (mut got, to)) = (io::pipe().unwrap(), io::pipe().unwrap());
    peer.write_all(&[7; 100]).unwrap();
    let (mut source, mut sink) = ((&from).take(90), &to);
    let mut transfer = Transfer::default();
    let (taken, delivered, next) = step_on(&mut transfer, &mut source, &mut sink, u64::MAX);
    assert!(matches!(next, Next::Ended), "{next:?}");
    assert_eq!((taken, delivered, source.limit()), (90, 90, 0));
    let mut bytes = [0; 90];
    got.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, [7; 90]);
}

#[test]
fn buffered_bytes_go_before_the_pipe_behind_them() {
    let (from, mut peer) = io::pipe().unwrap();
    peer.write_all(b"head, and ").unwrap();
    let mut reader = io::BufReader::new(from);
    io::BufRead::fill_buf(&mut reader).unwrap();
    peer.write_all(b"tail, and more").unwrap();
    let (mut source, mut sink) = (reader.take(14), Vec::new());
    assert_eq!(drive(&mut Transfer::default(), &mut source, &mut sink).unwrap(), 14);
    assert_eq!((&sink[..], source.limit()), (&b"head, and tail"[..], 0));
}

/// Takes this many bytes and no more.
struct Quota<'a>(&'a io::PipeWriter, u64);

impl Sink for Quota<'_> {
    fn downstream(&mut self) -> Downstream<'_> {
        Downstream::through(&mut self.0).limit(self.1)
    }
    fn delivered(&mut self, n: u64) {
        self.1 -= n;
    }
}

#[test]
fn what_does_not_fit_stays_in_flight() {
    let (mut got, to) = io::pipe().unwrap();
    let mut transfer = Transfer::with_residue(b"hello".to_vec());
    let mut source = &b", and more"[..];
    let (_, delivered, next) = step_on(&mut transfer, &mut source, &mut Quota(&to, 3), u64::MAX);
    assert!(matches!(next, Next::Failed(_)), "{next:?}");
    assert_eq!((delivered, transfer.in_flight()), (3, 2));
    let (_, delivered, next) = step_on(&mut transfer, &mut source, &mut Quota(&to, 12), u64::MAX);
    assert!(matches!(next, Next::Ended), "{next:?}");
    assert_eq!((delivered, transfer.in_flight()), (12, 0));
    let mut bytes = [0; 15];
    got.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello, and more");
}
