//! Readiness is edge-triggered. An edge that comes between a call's "not now" and its telling tokio so must not
//! be forgotten with it: no other comes.

use std::cell::Cell;
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::PollFlags;
use zc_linux::hook::{self, Action, Syscall};
use zc_testkit::data::{self, assert_same};
use zc_testkit::fds;
use zc_testkit::feeder::Feeder;
use zc_testkit::wait::is_ready;
use zc_tokio::{Copier, Options};

use crate::kit;

const EAGAIN: i32 = 11;

/// Runs a test with tokio's reactor on another thread, where it sees an edge at once.
fn run(test: impl Future<Output = ()>) {
    kit::warm_up();
    let _leaks = fds::no_leaks();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        // Dropped by the panic, so that peers on threads are not waited for.
        let test = std::pin::pin!(test);
        tokio::time::timeout(Duration::from_secs(20), test).await.expect("an edge was forgotten");
    });
}

/// Long enough for the reactor to have seen what has just happened.
fn let_the_reactor_see() {
    std::thread::sleep(Duration::from_millis(30));
}

/// A read or a splice answers "not now", and a byte comes before anyone is told.
#[test]
fn of_a_source() {
    const MESSAGES: usize = 5;
    for adaptive in [true, false] {
        run(async move {
            let ((client, mut from), (mut to_peer, mut to)) = (kit::tcp(), kit::tcp());
            let mut options = Options::default();
            options.adaptive = adaptive;
            let mut copier = Copier::with(options);
            let (number, source) = (from.as_raw_fd(), from.as_fd().try_clone_to_owned().unwrap());
            let (mut writer, mut injected) = (client.try_clone().unwrap(), 0);
            let hook = hook::replace(move |call| {
                let asks = matches!(call.syscall, Syscall::Read | Syscall::Splice);
                let is_empty = || !is_ready(&source, PollFlags::IN);
                if !asks || call.from != Some(number) || injected == MESSAGES || !is_empty() {
                    return Action::Proceed;
                }
                injected += 1;
                writer.write_all(b"more, ").unwrap();
                let_the_reactor_see();
                Action::Fail(EAGAIN)
            });
            let expected = [&b"first, "[..], &b"more, ".repeat(MESSAGES)].concat();
            (&client).write_all(b"first, ").unwrap();
            let len = expected.len();
            let reading = tokio::task::spawn_blocking(move || {
                let mut got = vec![0; len];
                to_peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                to_peer.read_exact(&mut got).expect("an edge was forgotten");
                got
            });
            let got = tokio::select! {
                _ = copier.run(&mut from, &mut to) => panic!("the client has not ended"),
                got = reading => got.unwrap(),
            };
            drop((hook, client));
            assert_eq!(got, expected);
        });
    }
}

/// A write or a splice finds the sink full, and its peer drains it before anyone is told.
#[test]
fn of_a_sink() {
    for adaptive in [true, false] {
        run(async move {
            let data = data::bytes(1, 20_000_000);
            let ((client, mut from), (to_peer, mut to)) = (kit::tcp(), kit::tcp());
            let feeder = Feeder::pieces(client, data.clone(), 1 << 20);
            let mut options = Options::default();
            options.adaptive = adaptive;
            let mut copier = Copier::with(options);
            let (number, sink) = (to.as_raw_fd(), to.as_fd().try_clone_to_owned().unwrap());
            let got = Arc::new(Mutex::new(Vec::new()));
            let (to_peer, drained) = (Arc::new(to_peer), Arc::clone(&got));
            let (peer, injected) = (Arc::clone(&to_peer), Rc::new(Cell::new(0)));
            let count = Rc::clone(&injected);
            let hook = hook::replace(move |call| {
                let gives = matches!(call.syscall, Syscall::Write | Syscall::Splice);
                let is_full = || !is_ready(&sink, PollFlags::OUT);
                if !gives || call.to != Some(number) || !is_full() {
                    return Action::Proceed;
                }
                count.set(count.get() + 1);
                // All that is on its way.
                let mut drained = drained.lock().unwrap();
                while is_ready(&*peer, PollFlags::IN) || is_full() {
                    if !is_ready(&*peer, PollFlags::IN) {
                        continue; // … until the kernel has heard that it has been read
                    }
                    let mut chunk = vec![0; 1 << 20];
                    let n = (&*peer).read(&mut chunk).unwrap();
                    drained.extend_from_slice(&chunk[..n]);
                }
                let_the_reactor_see();
                Action::Fail(EAGAIN)
            });
            // Nobody else reads: if an edge is forgotten, nothing goes on.
            let copied = copier.run(&mut from, &mut to).await.unwrap();
            drop((hook, to, feeder));
            assert_eq!(copied, data.len() as u64);
            assert!(injected.get() > 0, "the sink was never full");
            let mut got = Arc::into_inner(got).unwrap().into_inner().unwrap();
            (&*to_peer).read_to_end(&mut got).unwrap();
            assert_same(&got, &data);
        });
    }
}
