//! More than one runtime, and one that is gone.

use std::future::Future;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use zc_testkit::data::{self, assert_same};
use zc_testkit::{fds, files};
use zc_tokio::{Copier, FileAt, Operation, Options};

use crate::kit;

const LONG: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The reactor of the sink is gone, which nothing wakes up for any more.
#[test]
fn an_end_whose_runtime_is_gone_is_not_asked_for_its_error_for_ever() {
    let _leaks = fds::no_leaks_with_tokio();
    let (done, is_done) = mpsc::channel();
    let polling = std::thread::spawn(move || {
        let gone = runtime();
        let (_peer, mut to) = gone.block_on(async { kit::tcp() });
        drop(gone);
        runtime().block_on(async {
            let (mut client, mut from) = kit::tcp();
            let mut copier = Copier::new();
            assert!(kit::poll_once(copier.run(&mut from, &mut to)).await.is_none());
            // It is found out once it is needed.
            client.write_all(b"hello").unwrap();
            let outcome = timeout(LONG, copier.run(&mut from, &mut to)).await.expect("it hangs");
            assert_eq!(outcome.unwrap_err().operation(), Operation::Write);
        });
        done.send(()).unwrap();
    });
    is_done.recv_timeout(LONG).expect("the poll does not return");
    polling.join().unwrap();
}

/// A runtime that nothing runs has a clock that stands, and one that is gone has none.
#[test]
fn a_timeout_goes_by_the_clock_of_the_present_runtime() {
    for dies in [false, true] {
        let _leaks = fds::no_leaks_with_tokio();
        let mut options = Options::default();
        options.idle_timeout = Some(Duration::from_millis(50));
        let mut copier = Copier::with_options(options);
        let (first, second) = (runtime(), runtime());
        let ends = second.block_on(async { (kit::tcp(), kit::tcp()) });
        let ((_client, mut from), (_server, mut to)) = ends;
        first.block_on(async {
            assert!(kit::poll_once(copier.run(&mut from, &mut to)).await.is_none());
        });
        let _stands = (!dies).then_some(first);
        second.block_on(async {
            let outcome = timeout(LONG, copier.run(&mut from, &mut to)).await.expect("it hangs");
            assert_eq!(outcome.unwrap_err().operation(), Operation::IdleTimeout);
        });
    }
}

/// A runtime that shuts down makes no more steps.
#[test]
fn a_step_that_is_never_made_keeps_what_is_in_flight() {
    let _leaks = fds::no_leaks_with_tokio();
    let gone = runtime();
    let handle = gone.handle().clone();
    drop(gone);
    let data = data::bytes(1, 50_000);
    let (now, later) = data.split_at(40_000);
    let file = files::empty();
    runtime().block_on(async {
        let (mut client, mut from) = kit::unix();
        client.write_all(now).unwrap();
        from.readable().await.unwrap();
        let mut to = FileAt::new(file.try_clone().unwrap(), 0).unwrap();
        let mut copier = Copier::new();
        let outcome = {
            let mut running = pin!(copier.run(&mut from, &mut to));
            std::future::poll_fn(|cx| {
                let _inside = handle.enter();
                running.as_mut().poll(cx)
            })
            .await
        };
        assert!(outcome.is_err(), "{outcome:?}");
        assert_eq!((copier.count(), copier.in_flight()), (0, now.len()));
        client.write_all(later).unwrap();
        drop(client);
        assert_eq!(copier.run(&mut from, &mut to).await.unwrap(), data.len() as u64);
    });
    assert_same(&files::contents(&file), &data);
}

/// A step of a file finds no runtime whose pool could make it. What it was to write was taken from the source before.
#[test]
fn a_poll_outside_of_a_runtime_loses_no_byte() {
    let _leaks = fds::no_leaks_with_tokio();
    let file = files::empty();
    let (mut from, mut to) = (&b"hello"[..], FileAt::new(file.try_clone().unwrap(), 0).unwrap());
    let mut copier = Copier::new();
    let outside = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = pin!(copier.run(&mut from, &mut to)).poll(&mut cx);
    }));
    assert!(outside.is_err(), "there is a runtime");
    assert_eq!((from.len(), copier.in_flight()), (0, 5));
    let copied = runtime().block_on(copier.run(&mut from, &mut to));
    assert_eq!((copied.unwrap(), copier.in_flight()), (5, 0));
    assert_same(&files::contents(&file), b"hello");
}
