//! Drivers of a transfer: by poll(2), by epoll(7) with level and with edge triggers, on one thread or many, gone
//! after every step, and with two transfers at a time.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use static_assertions::assert_impl_all;
use zc_std::driver::Next;
use zc_std::{Copier, Side, Sink, Source, Transfer};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::stepping::{park, run, step, transfer};
use zc_testkit::wait::wait_for;
use zc_testkit::{fds, pipes, sockets};

assert_impl_all!(Transfer: Send);
assert_impl_all!(Copier: Send);

/// Waits until one side is ready, and panics if that takes too long.
trait Wait {
    fn new(from: &impl AsFd, to: &impl AsFd) -> Self;
    fn wait(&self, from: &impl AsFd, to: &impl AsFd, side: Side);
}

struct ByPoll;

impl Wait for ByPoll {
    fn new(_: &impl AsFd, _: &impl AsFd) -> Self {
        ByPoll
    }
    fn wait(&self, from: &impl AsFd, to: &impl AsFd, side: Side) {
        match side {
            Side::Source => wait_for(from, PollFlags::IN),
            Side::Sink => wait_for(to, PollFlags::OUT),
        }
    }
}

/// Both sides are in one epoll instance. Waits until that reports the side in question.
struct ByEpoll<const EDGE: bool>(OwnedFd);

impl<const EDGE: bool> Wait for ByEpoll<EDGE> {
    fn new(from: &impl AsFd, to: &impl AsFd) -> Self {
        let instance = epoll::create(CreateFlags::CLOEXEC).unwrap();
        let edge = if EDGE { EventFlags::ET } else { EventFlags::empty() };
        let side = |side| EventData::new_u64(side as u64);
        epoll::add(&instance, from, side(Side::Source), EventFlags::IN | edge).unwrap();
        epoll::add(&instance, to, side(Side::Sink), EventFlags::OUT | edge).unwrap();
        ByEpoll(instance)
    }
    fn wait(&self, from: &impl AsFd, to: &impl AsFd, side: Side) {
        // Level-triggered, the other side would be reported all the time.
        if !EDGE {
            let [reads, writes] = match side {
                Side::Source => [EventFlags::IN, EventFlags::empty()],
                Side::Sink => [EventFlags::empty(), EventFlags::OUT],
            };
            let side = |side| EventData::new_u64(side as u64);
            epoll::modify(&self.0, from, side(Side::Source), reads).unwrap();
            epoll::modify(&self.0, to, side(Side::Sink), writes).unwrap();
        }
        loop {
            let mut events = Vec::with_capacity(2);
            let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
            let wait = || epoll::wait(&self.0, spare_capacity(&mut events), Some(&patience));
            let count = retry_on_intr(wait).unwrap();
            assert!(count > 0, "{side:?} does not get ready");
            if events.iter().any(|event: &epoll::Event| event.data.u64() == side as u64) {
                return;
            }
        }
    }
}

/// What becomes of the driver after each step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Driver {
    Stays,
    /// Each step is made on another thread.
    OnOtherThreads,
    /// The driver goes, and the next one resumes the transfer.
    Goes,
}

/// Moves bytes that come in bursts, each once the one before has come out. The client stays connected, so that a wait
/// for something that is there already would never end.
///
/// Returns after how many steps bytes were in flight.
fn relay<W: Wait, R, T>(
    (client, from): (impl Write + Send, R),
    (to, server): (T, impl Read + Send),
    driver: Driver,
    adaptive: bool,
) -> usize
where
    R: AsFd + Sync,
    for<'a> &'a R: Source,
    T: AsFd + Sync,
    for<'a> &'a T: Sink,
{
    const BURSTS: [usize; 6] = [1, 200_000, 65_536, 3, 700_000, 16_384];
    rustix::io::ioctl_fionbio(&from, true).unwrap();
    rustix::io::ioctl_fionbio(&to, true).unwrap();
    let data = data::bytes(40, BURSTS.iter().sum());
    let waits = W::new(&from, &to);
    let mut transfer = transfer(adaptive);
    let mut in_flight_after = 0;
    let (mut client, mut server) = (client, server);
    let mut rest = &data[..];
    for burst in BURSTS {
        let (now, later) = rest.split_at(burst);
        rest = later;
        thread::scope(|scope| {
            let feeder = scope.spawn(|| client.write_all(now).unwrap());
            let reader = scope.spawn(|| {
                let mut got = vec![0; burst];
                server.read_exact(&mut got).unwrap();
                assert_same(&got, now);
            });
            let mut delivered = 0;
            while delivered < burst as u64 {
                let step = match driver {
                    Driver::OnOtherThreads => {
                        let one = || step(&mut transfer, &mut &from, &mut &to, u64::MAX);
                        thread::scope(|scope| scope.spawn(one).join().unwrap())
                    }
                    _ => step(&mut transfer, &mut &from, &mut &to, u64::MAX),
                };
                delivered += step.delivered;
                in_flight_after += usize::from(transfer.in_flight() > 0);
                if driver == Driver::Goes {
                    transfer.resume();
                    assert_eq!(transfer.report().moved(), 0, "its report begins anew");
                }
                let side = match step.next {
                    Next::Again => continue,
                    Next::WantRead { .. } => Side::Source,
                    Next::WantWrite => Side::Sink,
                    other => panic!("{other:?}"),
                };
                park(&mut transfer);
                waits.wait(&from, &to, side);
            }
            feeder.join().unwrap();
            reader.join().unwrap();
        });
        assert_eq!(transfer.in_flight(), 0);
    }
    // The client leaves, and the copy ends.
    drop(client);
    let next = loop {
        match run(&mut transfer, &mut &from, &mut &to, usize::MAX).next {
            Next::WantRead { .. } => waits.wait(&from, &to, Side::Source),
            next => break next,
        }
    };
    assert!(matches!(next, Next::Ended), "{next:?}");
    park(&mut transfer);
    in_flight_after
}

fn relays<W: Wait>(driver: Driver) {
    for adaptive in [true, false] {
        let _leaks = fds::no_leaks();
        let tight = || sockets::tight(sockets::unix());
        let tight_tcp = sockets::tight(sockets::tcp_v4());
        let ((far, to), (from, client)) = (pipes::pipe(), pipes::pipe());
        let in_flight_after = [
            relay::<W, _, _>(sockets::unix(), tight(), driver, adaptive),
            relay::<W, _, _>(sockets::tcp_v4(), tight_tcp, driver, adaptive),
            relay::<W, _, _>(sockets::tcp_v4(), tight(), driver, adaptive),
            relay::<W, _, _>((client, from), tight(), driver, adaptive),
            relay::<W, _, _>(sockets::unix(), (to, far), driver, adaptive),
        ];
        assert!(in_flight_after.iter().sum::<usize>() > 0, "nothing was ever in flight");
    }
}

#[test]
fn poll_drives_a_transfer() {
    relays::<ByPoll>(Driver::Stays);
}

#[test]
fn level_triggered_epoll_drives_a_transfer() {
    relays::<ByEpoll<false>>(Driver::Stays);
}

/// Edge-triggered, the driver waits only where a step says that it wants to read or write.
#[test]
fn edge_triggered_epoll_drives_a_transfer() {
    relays::<ByEpoll<true>>(Driver::Stays);
}

#[test]
fn each_step_may_be_on_another_thread() {
    relays::<ByEpoll<true>>(Driver::OnOtherThreads);
}

#[test]
fn each_step_may_have_a_new_driver() {
    relays::<ByEpoll<true>>(Driver::Goes);
}

/// A step says that the source has no more, or the sink no room. The driver then waits at once, and does not ask
/// again to find out.
#[test]
fn what_is_drained_or_full_need_not_be_asked_again() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(41, 300_000);
    let (mut client, from) = sockets::unix();
    let (to, server) = sockets::tight(sockets::unix());
    for end in [&from, &to] {
        end.set_nonblocking(true).unwrap();
    }
    let waits = ByEpoll::<true>::new(&from, &to);
    let mut transfer = transfer(true);
    let (mut delivered, mut spared) = (0, 0);
    thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            client.write_all(&data).unwrap();
            client // stays connected until all has arrived
        });
        let reader = scope.spawn(|| {
            let mut got = vec![0; data.len()];
            (&server).read_exact(&mut got).unwrap();
            got
        });
        while delivered < data.len() as u64 {
            let step = step(&mut transfer, &mut &from, &mut &to, u64::MAX);
            delivered += step.delivered;
            let side = match step.next {
                Next::Again if step.full && transfer.in_flight() > 0 => Side::Sink,
                Next::Again if step.drained && transfer.in_flight() == 0 => Side::Source,
                Next::Again => continue,
                Next::WantRead { .. } => Side::Source,
                Next::WantWrite => Side::Sink,
                other => panic!("{other:?}"),
            };
            spared += usize::from(matches!(step.next, Next::Again));
            if delivered < data.len() as u64 {
                waits.wait(&from, &to, side);
            }
        }
        assert_same(&reader.join().unwrap(), &data);
        drop(feeder.join().unwrap());
    });
    assert!(spared > 0);
}

/// One direction of a two-way relay.
struct Direction<'a> {
    transfer: Transfer,
    from: &'a UnixStream,
    to: &'a UnixStream,
    /// The side that it waits for.
    side: Option<Side>,
    ended: bool,
}

impl Direction<'_> {
    /// Moves what can be moved without waiting, and passes the end on.
    fn go(&mut self) {
        while !self.ended {
            let step = step(&mut self.transfer, &mut &*self.from, &mut &*self.to, u64::MAX);
            match step.next {
                Next::Again => continue,
                Next::WantRead { .. } => self.side = Some(Side::Source),
                Next::WantWrite => self.side = Some(Side::Sink),
                Next::Ended => {
                    self.to.shutdown(Shutdown::Write).unwrap();
                    (self.ended, self.side) = (true, None);
                }
                other => panic!("{other:?}"),
            }
            self.transfer.park();
            return;
        }
    }
}

/// A proxy. The client sends while it receives, and hears the end of each direction by itself.
#[test]
fn two_transfers_are_a_two_way_relay() {
    for adaptive in [true, false] {
        let _leaks = fds::no_leaks();
        let (client, near) = sockets::tight(sockets::unix());
        let (far, server) = sockets::tight(sockets::unix());
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        let (up, down) = (data::bytes(42, 1_000_000), data::bytes(43, 1_500_000));
        let send = |mut socket: UnixStream, data: Vec<u8>| {
            thread::spawn(move || {
                socket.write_all(&data).unwrap();
                socket.shutdown(Shutdown::Write).unwrap();
            })
        };
        let senders = [
            send(client.try_clone().unwrap(), up.clone()),
            send(server.try_clone().unwrap(), down.clone()),
        ];
        let readers = [Collector::start(server), Collector::start(client)];

        let direction = |from, to| Direction {
            transfer: transfer(adaptive),
            from,
            to,
            side: None,
            ended: false,
        };
        let mut directions = [direction(&near, &far), direction(&far, &near)];
        loop {
            directions.iter_mut().for_each(Direction::go);
            let mut fds: Vec<PollFd<'_>> = directions
                .iter()
                .filter_map(|direction| {
                    Some(match direction.side? {
                        Side::Source => PollFd::new(direction.from, PollFlags::IN),
                        Side::Sink => PollFd::new(direction.to, PollFlags::OUT),
                    })
                })
                .collect();
            if fds.is_empty() {
                break;
            }
            let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
            let ready = retry_on_intr(|| poll(&mut fds, Some(&patience))).unwrap();
            assert!(ready > 0, "neither direction gets ready");
        }
        let moved = directions.each_ref().map(|direction| direction.transfer.report().moved());
        assert_eq!(moved, [up.len() as u64, down.len() as u64]);
        let [at_server, at_client] = readers.map(Collector::finish);
        assert_same(&at_server, &up);
        assert_same(&at_client, &down);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    }
}
