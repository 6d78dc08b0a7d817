//! What the fault explorer has found, each as a test of its own.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;

use zc_std::hook::{self, Action, Call, Syscall};
use zc_std::{Copier, CopyError};
use zc_testkit::explorer::Scenario;
use zc_testkit::fds;

const BYTES: &[u8] = b"twelve bytes";

/// A socket with `BYTES` in it; more may come for as long as the first end is open.
fn socket() -> (UnixStream, UnixStream) {
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(BYTES).unwrap();
    (client, stream)
}

/// Takes `action` on the first call that `which` picks.
fn once(which: impl Fn(&Call) -> bool + 'static, action: Action) -> hook::Guard {
    let mut done = false;
    hook::replace(move |call| {
        if done || !which(call) {
            return Action::Proceed;
        }
        done = true;
        action
    })
}

fn content(file: &mut File) -> Vec<u8> {
    file.rewind().unwrap();
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    content
}

#[test]
fn a_reached_limit_does_not_leave_a_short_write_behind() {
    let _leaks = fds::no_leaks();
    let (_client, stream) = socket();
    let mut file = tempfile::tempfile().unwrap();
    let mut limited = (&stream).take(BYTES.len() as u64);
    let _short = once(|call| call.syscall == Syscall::Write, Action::Limit(5));

    let moved = zc_std::copy(&mut limited, &mut file).unwrap();
    assert_eq!((moved, limited.limit()), (BYTES.len() as u64, 0));
    assert_eq!(content(&mut file), BYTES);
}

#[test]
fn a_reached_limit_does_not_leave_a_refused_splice_behind() {
    let _leaks = fds::no_leaks();
    let (_client, stream) = socket();
    let mut file = tempfile::tempfile().unwrap();
    let mut limited = (&stream).take(BYTES.len() as u64);
    let mut splices = 0;
    let _refusal = hook::replace(move |call| {
        splices += u32::from(call.syscall == Syscall::Splice);
        if call.syscall == Syscall::Splice && splices == 2 {
            Action::Fail(libc::EINVAL)
        } else {
            Action::Proceed
        }
    });

    let mut copier = Copier::new().adaptive(false);
    let report = copier.copy(&mut limited, &mut file).unwrap();
    assert_eq!((report.moved(), limited.limit(), copier.in_flight()), (BYTES.len() as u64, 0, 0));
    assert_eq!(content(&mut file), BYTES);
}

#[test]
fn a_limit_of_0_still_delivers_what_is_in_flight() {
    let _leaks = fds::no_leaks();
    let (_client, stream) = socket();
    let mut file = tempfile::tempfile().unwrap();
    let mut limited = (&stream).take(BYTES.len() as u64);
    let mut copier = Copier::new().adaptive(false);
    {
        let _full = hook::replace(|call| match call.to {
            Some(_) if call.syscall == Syscall::Write => Action::Fail(libc::ENOSPC),
            _ if call.syscall == Syscall::Splice => Action::Fail(libc::EINVAL),
            _ => Action::Proceed,
        });
        let failed = copier.copy(&mut limited, &mut file).unwrap_err();
        assert_eq!((failed.raw_os_error(), failed.moved()), (Some(libc::ENOSPC), 0));
        assert_eq!((limited.limit(), copier.in_flight()), (0, BYTES.len()));
    }
    let report = copier.copy(&mut limited, &mut file).unwrap();
    assert_eq!((report.moved(), copier.in_flight()), (BYTES.len() as u64, 0));
    assert_eq!(content(&mut file), BYTES);
}

#[test]
fn a_wait_is_named_after_the_call_that_would_have_waited() {
    let _leaks = fds::no_leaks();
    // An adaptive copy plans to splice, and reads.
    let (_client, stream) = socket();
    let mut file = tempfile::tempfile().unwrap();
    stream.set_nonblocking(true).unwrap();
    let failed = zc_std::copy(&mut &stream, &mut file).unwrap_err();
    let failed = CopyError::from_io(&failed).unwrap();
    assert_eq!((failed.syscall(), failed.raw_os_error()), (Some("read"), Some(libc::EAGAIN)));

    // A copy that goes on with a full pipe drains it first.
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(&[7; 4096]).unwrap();
    let mut splices = 0;
    let _full = hook::replace(move |call| {
        splices += u32::from(call.syscall == Syscall::Splice);
        let full = call.syscall == Syscall::Splice && splices > 1;
        if full { Action::Fail(libc::EAGAIN) } else { Action::Proceed }
    });
    let (sink, _far_end) = UnixStream::pair().unwrap();
    let mut copier = Copier::new().adaptive(false).pipe_size(4096);
    for _ in 0..2 {
        let failed = copier.resume(&mut &stream, &mut &sink).unwrap_err();
        assert_eq!((failed.syscall(), failed.raw_os_error()), (Some("splice"), Some(libc::EAGAIN)));
        assert_eq!(copier.in_flight(), 4096);
    }
    // A new copy knows of no splice between these ends, so it writes.
    let failed = copier.copy(&mut (&stream).take(0), &mut &sink);
    assert_eq!(failed.unwrap().moved_by(zc_std::Mechanism::ReadWrite), 4096);
}

/// A read of a claimed range failed. The range could not be given back, since another had read on behind it, and a second
/// read kept it. The error is the first one's all the same.
#[test]
fn a_claim_that_is_kept_by_a_read_after_a_read_that_failed() {
    use zc_testkit::explorer::{Misbehaviour::*, errno::*, *};
    let _alone = zc_testkit::serial::serial();

    replay(
        &Scenario {
            source: SourceKind::File,
            above: vec![SourceWrap::Take(8687), SourceWrap::BufReader(100), SourceWrap::Progress],
            sink: SinkKind::File,
            below: vec![SinkWrap::Progress, SinkWrap::BufWriter(4096, 100), SinkWrap::Progress],
            engine: Engine {
                mode: Mode::Resume,
                adaptive: false,
                pipe_size: 8192,
                coalesce: false,
            },
            payload: 12411,
            chunk: 0,
            waiting: Waiting::Neither,
            shared: true,
        },
        &[(8, Zero), (10, Fail(EOPNOTSUPP)), (13, Meanwhile(Act::Read))],
    )
    .unwrap();
}

/// An error while others write: what they write before and after the lseek that gives a range back is not judged.
#[test]
fn others_that_write_twice_while_a_range_is_given_back() {
    use zc_testkit::explorer::{Misbehaviour::*, errno::*, *};
    let _alone = zc_testkit::serial::serial();

    replay(
        &Scenario {
            source: SourceKind::Unix,
            above: vec![SourceWrap::Take(11169)],
            sink: SinkKind::File,
            below: vec![],
            engine: Engine { mode: Mode::Edge, adaptive: false, pipe_size: 8192, coalesce: false },
            payload: 12411,
            chunk: 5000,
            waiting: Waiting::Source,
            shared: true,
        },
        &[
            (5, Fail(ESPIPE)),
            (9, Fail(EPIPE)),
            (11, Meanwhile(Act::Write)),
            (12, Meanwhile(Act::CopyIn)),
        ],
    )
    .unwrap();
}

/// From a file into one in append mode, which others write to.
fn an_append_in_company() -> Scenario {
    use zc_testkit::explorer::*;

    Scenario {
        source: SourceKind::File,
        above: vec![SourceWrap::BufReader(5000), SourceWrap::Take(8687)],
        sink: SinkKind::Append,
        below: vec![SinkWrap::BufWriter(64, 10)],
        engine: Engine { mode: Mode::Leave, adaptive: false, pipe_size: 8192, coalesce: false },
        payload: 12411,
        chunk: 0,
        waiting: Waiting::Neither,
        shared: true,
    }
}

/// A claim of a file that turned out to be in append mode. What another had written meanwhile ended where the offset
/// then stood.
#[test]
fn an_append_in_company_leaves_the_offset_at_the_end() {
    use zc_testkit::explorer::{Act, Misbehaviour::*, replay};
    let _alone = zc_testkit::serial::serial();

    replay(&an_append_in_company(), &[(8, Meanwhile(Act::Write))]).unwrap();
}

/// Without F_GETFL, and with copy_file_range refused by another errno than its own, nothing tells of the mode. The bytes
/// are right; where the offset stands is not judged.
#[test]
fn an_append_whose_mode_nothing_tells_delivers_every_byte() {
    use zc_testkit::explorer::{Act, Misbehaviour::*, errno::*, replay};
    let _alone = zc_testkit::serial::serial();

    replay(
        &an_append_in_company(),
        &[(5, Fail(ENOSPC)), (9, Fail(EINVAL)), (10, Fail(ENOSYS)), (11, Meanwhile(Act::CopyIn))],
    )
    .unwrap();
}
