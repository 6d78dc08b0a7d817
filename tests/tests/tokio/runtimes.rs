//! More than one runtime, and one that is gone.

use std::io::Write;
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use zc_testkit::fds;
use zc_tokio::{Copier, Operation, Options};

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
