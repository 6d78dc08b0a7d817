//! A callback hears of a long copy every few MiB, however much one call could move.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::thread;

use zc_std::hook::{self, Syscall};
use zc_std::{Copier, Mechanism, Progress};
use zc_testkit::fds;

const LEN: u64 = 20 << 20;
const AT_MOST: u64 = 512 * 1024;

#[test]
fn is_reported_every_few_mebibytes() {
    let _leaks = fds::no_leaks();
    let file = tempfile::tempfile().unwrap();
    file.set_len(LEN).unwrap();
    let (stream, mut client) = UnixStream::pair().unwrap();
    let receiver = thread::spawn(move || {
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        received
    });

    let recorder = hook::record();
    let mut reports = Vec::new();
    let mut source = Progress::new((&file).take(LEN), |n| reports.push(n));
    let report = Copier::new().adaptive(false).copy(&mut source, &mut &stream).unwrap();
    assert_eq!(source.get_ref().limit(), 0);
    drop(stream);

    assert_eq!((report.moved(), report.moved_by(Mechanism::Sendfile)), (LEN, LEN));
    assert!(receiver.join().unwrap() == vec![0; LEN as usize]);
    assert_eq!(reports.iter().sum::<u64>(), LEN);
    assert!(reports.iter().all(|&n| n <= AT_MOST), "{reports:?}");
    let asked: Vec<_> = recorder.calls_to(Syscall::Sendfile);
    assert!(asked.iter().all(|record| record.call.len as u64 <= AT_MOST));
}
