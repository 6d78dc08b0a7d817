//! `Copier::coalesce`: small pieces from a TCP source are moved together. Nothing else is waited for, and the socket
//! is left as it was.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::time::Duration;

use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, Mechanism, Progress, ReadFrom};
use zc_testkit::data::{assert_same, bytes};
use zc_testkit::feeder::Feeder;
use zc_testkit::{fds, files, raw, serial::serial, sockets};

/// Longer than any pause of the machine: a delay that is waited for in vain hangs the test.
const LONG: Duration = Duration::from_secs(3600);

const PIECE: usize = 256;

/// A connection whose sender's writes are a segment each.
fn chatty() -> (TcpStream, TcpStream) {
    let (client, stream) = sockets::tcp_v4();
    client.set_nodelay(true).unwrap();
    (client, stream)
}

#[test]
fn small_pieces_are_moved_together() {
    let leaks = fds::no_leaks();
    let (client, stream) = chatty();
    let data = bytes(1, 1 << 20);
    let sent = data.clone();
    let (go, gone) = mpsc::channel::<()>();
    let feeder = Feeder::run(move || {
        let mut client = client;
        client.write_all(&sent[..PIECE])?;
        // A sender that ran ahead would fill the queue, and nothing would be worth a wait.
        gone.recv().ok();
        sent[PIECE..].chunks(PIECE).try_for_each(|piece| client.write_all(piece))
    });

    let mut file = tempfile::tempfile().unwrap();
    let _waits = hook::replace(move |call| {
        if call.syscall == Syscall::Poll {
            go.send(()).ok();
        }
        Action::Proceed
    });
    let recorder = hook::record();
    let report = Copier::new().coalesce(LONG).copy(&mut &stream, &mut file).unwrap();
    feeder.finish().unwrap();

    assert_eq!(report.moved(), data.len() as u64);
    let moving = |record: &&hook::Record| record.moved() > 0;
    let takes = recorder.calls().iter().filter(moving).count();
    assert!(takes < data.len() / PIECE / 4, "{takes} calls for {} pieces", data.len() / PIECE);
    // The option is set for each poll, and set back.
    let (sets, polls) = (recorder.calls_to(Syscall::SetSockOpt), recorder.calls_to(Syscall::Poll));
    assert!(!polls.is_empty(), "nothing was waited for");
    assert_eq!(sets.len(), 2 * polls.len());
    assert!(sets.iter().all(|set| set.call.to == Some(stream.as_raw_fd())));
    assert_eq!(raw::low_water(&stream).unwrap(), 1);

    assert_same(&files::contents(&file), &data);
    drop((stream, file));
    leaks.check();
}

#[test]
fn bytes_past_the_limit_are_not_waited_for() {
    let _serial = serial();
    let (mut client, stream) = chatty();
    let data = bytes(2, 3 * PIECE);
    client.write_all(&data).unwrap();

    // The sender stays and is silent, so that a wait for more than the limit would not end.
    let mut file = tempfile::tempfile().unwrap();
    let mut limited = (&stream).take(2 * PIECE as u64 + 10);
    let report = Copier::new().coalesce(LONG).copy(&mut limited, &mut file).unwrap();
    assert_eq!((report.moved(), limited.limit()), (2 * PIECE as u64 + 10, 0));

    let mut rest = vec![0; PIECE - 10];
    (&stream).read_exact(&mut rest).unwrap();
    assert_same(&rest, &data[2 * PIECE + 10..]);
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
}

#[test]
fn the_limit_is_waited_for_whole() {
    let _serial = serial();
    let (mut client, stream) = chatty();
    let data = bytes(3, 4 * PIECE);
    let (go, gone) = mpsc::channel::<()>();
    let sent = data.clone();
    let feeder = Feeder::run(move || {
        client.write_all(&sent[..PIECE])?;
        gone.recv().ok();
        sent[PIECE..].chunks(PIECE).try_for_each(|piece| client.write_all(piece))
    });

    let mut file = tempfile::tempfile().unwrap();
    let mut copier = Copier::new().coalesce(LONG);
    let mut limited = (&stream).take(4 * PIECE as u64);
    // The sender goes on once the first piece has been taken and the copy waits for more.
    let hook = hook::replace(move |call| {
        if call.syscall == Syscall::Poll {
            go.send(()).ok();
        }
        Action::Proceed
    });
    let recorder = hook::record();
    let report = copier.copy(&mut limited, &mut file).unwrap();
    drop(hook);
    feeder.finish().unwrap();
    assert_eq!((report.moved(), limited.limit()), (4 * PIECE as u64, 0));
    assert_eq!(recorder.calls_to(Syscall::Poll).len(), 1, "one wait brings the rest of the limit");
    assert_eq!(recorder.calls_to(Syscall::Read).len(), 2);
}

#[test]
fn the_end_of_input_ends_the_wait() {
    let _serial = serial();
    let (mut client, stream) = chatty();
    let data = bytes(4, PIECE);
    client.write_all(&data).unwrap();
    drop(client);

    let mut out = Vec::new();
    let report = Copier::new().coalesce(LONG).copy(&mut &stream, &mut out).unwrap();
    assert_eq!(report.moved(), PIECE as u64);
    assert_same(&out, &data);
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
}

#[test]
fn a_reset_ends_the_wait_and_the_option_is_set_back() {
    let _serial = serial();
    let (mut client, stream) = chatty();
    client.write_all(&bytes(5, PIECE)).unwrap();
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    let mut client = Some(client);
    let _reset = hook::replace(move |call| {
        if call.syscall == Syscall::Poll {
            client.take();
        }
        Action::Proceed
    });

    let mut out = Vec::new();
    let error = Copier::new().coalesce(LONG).copy(&mut &stream, &mut out).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (ErrorKind::ConnectionReset, PIECE as u64));
    assert_same(&out, &bytes(5, PIECE));
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
}

#[test]
fn bytes_wait_no_longer_than_they_may() {
    let _serial = serial();
    let (mut client, stream) = chatty();
    let data = bytes(6, 2 * PIECE);
    let (went, arrived) = mpsc::channel();
    let sent = data.clone();
    let feeder = Feeder::run(move || {
        client.write_all(&sent[..PIECE])?;
        // The second piece goes in once the first has come out at the far end. A copy that waited for both would not
        // end.
        arrived.recv().ok();
        client.write_all(&sent[PIECE..])
    });

    let mut out = tempfile::tempfile().unwrap();
    let delivered = zc_std::Progress::new(&mut out, move |n| {
        went.send(n).ok();
    });
    let mut delivered = delivered;
    let mut copier = Copier::new().coalesce(Duration::from_millis(1));
    let report = copier.copy(&mut &stream, &mut delivered).unwrap();
    drop(delivered);
    feeder.finish().unwrap();
    assert_eq!(report.moved(), 2 * PIECE as u64);
    assert_same(&files::contents(&out), &data);
}

#[test]
fn an_option_that_its_owner_set_comes_back() {
    let _serial = serial();
    let (mut client, stream) = chatty();
    raw::set_low_water(&stream, 7).unwrap();
    client.write_all(&bytes(7, PIECE)).unwrap();
    drop(client);
    let mut out = Vec::new();
    Copier::new().coalesce(LONG).copy(&mut &stream, &mut out).unwrap();
    assert_same(&out, &bytes(7, PIECE));
    assert_eq!(raw::low_water(&stream).unwrap(), 7);
}

#[test]
fn other_sources_are_left_alone() {
    let _serial = serial();
    let data = bytes(8, PIECE);

    let (mut client, unix) = sockets::unix();
    client.write_all(&data).unwrap();
    drop(client);
    let (mut client, nonblocking) = chatty();
    nonblocking.set_nonblocking(true).unwrap();
    client.write_all(&data).unwrap();

    let recorder = hook::record();
    let mut out = Vec::new();
    Copier::new().coalesce(LONG).copy(&mut &unix, &mut out).unwrap();
    assert_same(&out, &data);

    rustix::event::poll(
        &mut [rustix::event::PollFd::new(&nonblocking, rustix::event::PollFlags::IN)],
        None,
    )
    .unwrap();
    let mut out = Vec::new();
    let stopped = Copier::new().coalesce(LONG).copy(&mut &nonblocking, &mut out).unwrap_err();
    assert_eq!((stopped.kind(), stopped.moved()), (ErrorKind::WouldBlock, PIECE as u64));
    assert_same(&out, &data);

    assert_eq!(recorder.calls_to(Syscall::SetSockOpt), []);
    assert_eq!(recorder.calls_to(Syscall::Poll), []);
}

#[test]
fn without_the_option_nothing_is_set() {
    let _serial = serial();
    let (mut client, stream) = chatty();
    client.write_all(&bytes(9, PIECE)).unwrap();
    drop(client);
    let recorder = hook::record();
    let mut out = Vec::new();
    assert_eq!(out.read_from(&stream).unwrap(), PIECE as u64);
    assert_same(&out, &bytes(9, PIECE));
    assert_eq!(recorder.calls_to(Syscall::SetSockOpt), []);
    assert_eq!(recorder.calls_to(Syscall::GetSockOpt), []);
}

/// The option gets back what its owner set last, not what it was when the copy began.
#[test]
fn an_option_that_its_owner_sets_meanwhile_stays() {
    let leaks = fds::no_leaks();
    let (mut client, stream) = chatty();
    let (next, turns) = mpsc::channel();
    let data = bytes(5, 5 * PIECE);
    let sent = data.clone();
    let feeder = Feeder::run(move || {
        for piece in sent.chunks(PIECE) {
            client.write_all(piece)?;
            // Waits until the piece before has been moved.
            let _ = turns.recv();
        }
        Ok(())
    });

    let mut file = tempfile::tempfile().unwrap();
    let mut pieces = 0;
    let owner = stream.try_clone().unwrap();
    let mut source = Progress::new(&stream, move |_| {
        pieces += 1;
        if pieces == 2 {
            raw::set_low_water(&owner, 77).unwrap();
        }
        let _ = next.send(());
    });
    let copier = Copier::new().coalesce(Duration::from_millis(1));
    let report = { copier }.copy(&mut source, &mut file).unwrap();
    drop(source);
    feeder.finish().unwrap();

    assert_eq!(report.moved(), data.len() as u64);
    assert_eq!(raw::low_water(&stream).unwrap(), 77);
    assert_same(&files::contents(&file), &data);
    drop((stream, file));
    drop(leaks);
}

/// A sender that fills the queue by itself is never waited for.
#[test]
fn a_sender_of_good_pieces_is_not_waited_for() {
    const GOOD: usize = 32 * 1024;
    let _serial = serial();
    for (len, waits) in [(GOOD, 0), (GOOD - 1, 1)] {
        let (mut client, stream) = chatty();
        let data = bytes(10, len);
        client.write_all(&data).unwrap();
        // All of it is there before the copy begins, so that one read brings it.
        let (peek, all) = (rustix::net::RecvFlags::PEEK, rustix::net::RecvFlags::WAITALL);
        assert_eq!(rustix::net::recv(&stream, &mut vec![0; len][..], peek | all).unwrap().0, len);

        let mut out = Vec::new();
        let recorder = hook::record();
        let mut reads = 0;
        let mut client = Some(client);
        // The sender is silent. It leaves once the copy waits, by poll or by a read.
        let _end = hook::replace(move |call| {
            reads += u32::from(call.syscall == Syscall::Read);
            if reads == 2 || call.syscall == Syscall::Poll {
                client.take();
            }
            Action::Proceed
        });
        let report = Copier::new().coalesce(LONG).copy(&mut &stream, &mut out).unwrap();
        assert_eq!(report.moved(), len as u64);
        assert_same(&out, &data);
        assert_eq!(recorder.calls_to(Syscall::Read)[0].result, Ok(len));
        assert_eq!(recorder.calls_to(Syscall::Poll).len(), waits, "after {len} bytes");
        assert_eq!(recorder.calls_to(Syscall::SetSockOpt).len(), 2 * waits, "after {len} bytes");
        assert_eq!(raw::low_water(&stream).unwrap(), 1);
    }
}

/// Each link of a chain is a source of its own, with an option of its own.
#[test]
fn every_link_of_a_chain_is_waited_for() {
    let _serial = serial();
    let ((mut first, a), (mut second, b)) = (chatty(), chatty());
    raw::set_low_water(&b, 7).unwrap();
    let data = bytes(11, 2 * PIECE);
    first.write_all(&data[..PIECE]).unwrap();
    second.write_all(&data[PIECE..]).unwrap();

    let recorder = hook::record();
    let (from_a, from_b) = (Some(a.as_raw_fd()), Some(b.as_raw_fd()));
    let (mut first, mut second, mut reads) = (Some(first), Some(second), 0);
    // Each sender leaves once the copy waits for more of it, by poll or by a read.
    let _end = hook::replace(move |call| {
        let reads_b = call.syscall == Syscall::Read && call.from == from_b;
        reads += u32::from(reads_b);
        if call.syscall == Syscall::Poll && call.from == from_a {
            first.take();
        }
        if call.syscall == Syscall::Poll && call.from == from_b || reads == 2 {
            second.take();
        }
        Action::Proceed
    });
    let mut out = Vec::new();
    let report = Copier::new().coalesce(LONG).copy(&mut (&a).chain(&b), &mut out).unwrap();
    assert_eq!(report.moved(), 2 * PIECE as u64);
    assert_same(&out, &data);
    let polled: Vec<_> =
        recorder.calls_to(Syscall::Poll).iter().map(|poll| poll.call.from).collect();
    assert_eq!(polled, [from_a, from_b]);
    let set: Vec<_> =
        recorder.calls_to(Syscall::SetSockOpt).iter().map(|set| set.call.to).collect();
    assert_eq!(set, [from_a, from_a, from_b, from_b]);
    assert_eq!((raw::low_water(&a).unwrap(), raw::low_water(&b).unwrap()), (1, 7));
}

/// Signals that come more often than the delay is long do not start the wait anew.
#[test]
fn signals_do_not_prolong_the_wait() {
    /// Far more signals than fit into one delay. If each started the wait anew, all of them would be sent.
    const MANY: usize = 1000;
    let _serial = serial();
    let (mut client, stream) = chatty();
    client.write_all(&bytes(12, PIECE)).unwrap();

    let recorder = hook::record();
    let (mut client, mut reads, mut polls) = (Some(client), 0, 0);
    // The sender is silent until the wait is over, or has had too many signals.
    let _end = hook::replace(move |call| {
        reads += u32::from(call.syscall == Syscall::Read);
        polls += usize::from(call.syscall == Syscall::Poll);
        if reads == 2 || polls == MANY {
            client.take();
        }
        Action::Proceed
    });
    let mut out = Vec::new();
    let storm = raw::Storm::every(Duration::from_millis(1)).unwrap();
    let mut copier = Copier::new().coalesce(Duration::from_millis(50));
    let report = copier.copy(&mut &stream, &mut out).unwrap();
    drop(storm);
    assert_eq!(report.moved(), PIECE as u64);
    assert_same(&out, &bytes(12, PIECE));
    let polls = recorder.calls_to(Syscall::Poll);
    assert!(polls.len() < MANY, "the wait did not end by itself");
    assert_eq!(polls.last().unwrap().result, Ok(0), "nothing came");
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
}

/// A batch is many segments, and each would take a slot of a pipe. So batches of every size are read.
#[test]
fn what_has_gathered_is_read() {
    const SMALL: usize = 4096;
    let _leaks = fds::no_leaks();
    let (client, stream) = chatty();
    let data = bytes(13, 40 * (16 + 1) * SMALL);
    let (mut client, mut unsent) = (Some(client), data.clone().into_iter());
    let fd = stream.try_clone().unwrap();
    // One piece for each read that would find nothing, and sixteen for each wait.
    let _sender = hook::replace(move |call| {
        let pieces = match call.syscall {
            Syscall::Poll => 16,
            Syscall::Read | Syscall::Splice if rustix::io::ioctl_fionread(&fd).unwrap() == 0 => 1,
            _ => 0,
        };
        for _ in 0..pieces {
            let piece: Vec<u8> = unsent.by_ref().take(SMALL).collect();
            match client.as_mut() {
                Some(client) if !piece.is_empty() => client.write_all(&piece).unwrap(),
                _ => drop(client.take()),
            }
        }
        Action::Proceed
    });
    let sink = tempfile::tempfile().unwrap();
    let recorder = hook::record();
    let mut copier = Copier::new().coalesce(Duration::from_millis(1));
    let report = copier.copy(&mut &stream, &mut &sink).unwrap();

    assert_eq!(report.moved(), data.len() as u64);
    assert_eq!(report.moved_by(Mechanism::ReadWrite), report.moved());
    let rich = |record: &&hook::Record| record.moved() >= 16 * SMALL;
    assert!(recorder.calls_to(Syscall::Read).iter().filter(rich).count() > 30);
    assert_same(&files::contents(&sink), &data);
}
