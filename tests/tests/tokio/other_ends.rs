//! Other ends, while a file's step for the old ones is still under way on another thread.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::{fds, files, sockets};
use zc_tokio::{Copier, FileAt};

use crate::kit::{self, poll_once};

const LEN: usize = 3_000_000;

/// Runs a test on a runtime whose pool has one thread, which makes no step until `go` is dropped.
fn run<T>(test: impl AsyncFnOnce(Sender<()>) -> T) -> T {
    let _leaks = fds::no_leaks_with_tokio();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(1).build().unwrap();
    let (go, gone) = channel();
    runtime.spawn_blocking(move || gone.recv());
    runtime.block_on(test(go))
}

/// They are not told what was moved between the old ones.
#[test]
fn a_step_between_the_old_files_does_not_move_the_new_ones() {
    run(async |go| {
        let (old, new) = (data::bytes(1, LEN), data::bytes(2, LEN));
        let targets = [files::empty(), files::empty()].map(Arc::new);
        let at = |data: &[u8]| FileAt::new(files::holding(data), 0).unwrap();
        let into = |n: usize| FileAt::new(Arc::clone(&targets[n]), 0).unwrap();
        let mut copier = Copier::new();
        assert!(poll_once(copier.run(&mut at(&old), &mut into(0))).await.is_none());

        copier.rebind();
        drop(go);
        let (mut source, mut sink) = (at(&new), into(1));
        assert_eq!(copier.run(&mut source, &mut sink).await.unwrap(), LEN as u64);
        assert_eq!((source.offset(), sink.offset()), (LEN as u64, LEN as u64));
        assert_same(&files::contents(&targets[1]), &new);
        let moved = files::contents(&targets[0]);
        assert!(!moved.is_empty());
        assert_same(&moved, &old[..moved.len()]);
    });
}

/// What the step has taken by then is in flight, and goes first; or nowhere, once what is in flight was taken out.
#[test]
fn what_is_taken_out_does_not_go_to_the_next_client() {
    for takes_out in [false, true] {
        run(async |go| {
            let (old, new) = (data::bytes(3, LEN), data::bytes(4, LEN));
            let at = |data: &[u8]| FileAt::new(files::holding(data), 0).unwrap();
            let ((_first, mut to_first), (second, mut to_second)) = (kit::tcp(), kit::tcp());
            let collector = Collector::start(second);
            let mut copier = Copier::new();
            assert!(poll_once(copier.run(&mut at(&old), &mut to_first)).await.is_none());
            if takes_out {
                assert!(copier.take_residue().is_empty());
            }
            copier.rebind();
            drop(go);
            let mut source = at(&new);
            let count = copier.run(&mut source, &mut to_second).await.unwrap();
            assert_eq!((copier.in_flight(), source.offset()), (0, LEN as u64));
            drop(to_second);
            let got = collector.finish();
            assert_eq!(got.len() as u64, count);
            let (before, rest) = got.split_at(got.len() - LEN);
            assert_same(rest, &new);
            assert_eq!(before.is_empty(), takes_out);
            assert_same(before, &old[..before.len()]);
        });
    }
}

/// A plain call that fails hands out what it has taken, also if a file's step had just begun then.
#[test]
fn what_a_step_takes_when_the_other_direction_fails_is_in_the_error() {
    run(async |go| {
        let data = data::bytes(5, LEN);
        let mut source = FileAt::new(files::holding(&data), 0).unwrap();
        let target = Arc::new(files::empty());
        let mut sink = FileAt::new(Arc::clone(&target), 0).unwrap();
        let (peer, mut stream) = kit::tcp();
        sockets::reset(peer);
        stream.readable().await.unwrap();
        let mut ends = tokio::io::join(&mut source, &mut sink);
        let copied = async { zc_tokio::copy_bidirectional(&mut ends, &mut stream).await };
        let lets_go = async {
            tokio::task::yield_now().await;
            drop(go);
        };
        let (copied, ()) = tokio::join!(copied, lets_go);
        let failed = copied.unwrap_err();
        let failed = zc_tokio::Error::from_io(&failed).unwrap();
        assert_eq!(failed.io_error().raw_os_error(), Some(libc::ECONNRESET), "{failed}");
        let (taken, none) = failed.residues();
        assert_eq!((failed.counts(), none.len()), ((0, 0), 0));
        assert!(!taken.is_empty());
        assert_same(taken, &data[..taken.len()]);
        assert_eq!((source.offset(), sink.offset()), (taken.len() as u64, 0));
        assert!(files::contents(&target).is_empty());
    });
}
