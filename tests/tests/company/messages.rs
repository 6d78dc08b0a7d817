use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, CopyError, ReadSource, Report, WriteSink};
use zc_testkit::apart::{apart, apart_with_the_tool};
use zc_testkit::data::{self, assert_same};
use zc_testkit::each_cell::{each, pairs};
use zc_testkit::streams::nonblocking;
use zc_testkit::{fds, files, sockets, tool};

/// The sockets that keep message boundaries.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Seqpacket,
    UnixDatagram,
    Udp,
}

const KINDS: [Kind; 3] = [Kind::Seqpacket, Kind::UnixDatagram, Kind::Udp];

impl Kind {
    /// A sender, and a receiver that has all of its messages at once and does not wait for more.
    fn open(self) -> (OwnedFd, OwnedFd) {
        let (to, from): (OwnedFd, OwnedFd) = match self {
            Kind::Seqpacket => {
                let flags = SocketFlags::CLOEXEC;
                socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
            }
            Kind::UnixDatagram => {
                let (to, from) = UnixDatagram::pair().unwrap();
                (to.into(), from.into())
            }
            Kind::Udp => {
                let [to, from] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
                to.connect(from.local_addr().unwrap()).unwrap();
                from.connect(to.local_addr().unwrap()).unwrap();
                (to.into(), from.into())
            }
        };
        // Room for all that a test sends, in both directions.
        rustix::net::sockopt::set_socket_send_buffer_size_force(&to, 1 << 20).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&from, 1 << 20).unwrap();
        (to, nonblocking(from))
    }
}

/// Types that any descriptor can be made into, and that claim to be streams.
#[derive(Clone, Copy, Debug, PartialEq)]
enum As {
    File,
    UnixStream,
    TcpStream,
    Pipe,
    Fd,
}

const TYPES: [As; 5] = [As::File, As::UnixStream, As::TcpStream, As::Pipe, As::Fd];

impl As {
    fn source(self, fd: OwnedFd) -> Box<dyn ReadSource> {
        match self {
            As::File => Box::new(File::from(fd)),
            As::UnixStream => Box::new(UnixStream::from(fd)),
            As::TcpStream => Box::new(TcpStream::from(fd)),
            As::Pipe => Box::new(PipeReader::from(fd)),
            As::Fd => Box::new(zc_std::Fd::new(fd).unwrap()),
        }
    }

    fn sink(self, fd: OwnedFd) -> Box<dyn WriteSink> {
        match self {
            As::File => Box::new(File::from(fd)),
            As::UnixStream => Box::new(UnixStream::from(fd)),
            As::TcpStream => Box::new(TcpStream::from(fd)),
            As::Pipe => Box::new(PipeWriter::from(fd)),
            As::Fd => Box::new(zc_std::Fd::new(fd).unwrap()),
        }
    }
}

/// How the copies are made: by options, and with the small pipes of a user who has too many.
#[derive(Clone, Copy, Debug)]
enum How {
    Default,
    First,
    SmallPipe,
    PipeBudget,
}

const HOWS: [How; 4] = [How::Default, How::First, How::SmallPipe, How::PipeBudget];

impl How {
    fn copier(self) -> Copier {
        match self {
            How::Default => Copier::new(),
            How::First | How::PipeBudget => Copier::new().adaptive(false),
            How::SmallPipe => Copier::new().adaptive(false).pipe_size(16 << 10),
        }
    }

    /// Past the budget the kernel grants no larger pipe than the default.
    fn hook(self) -> Option<hook::Guard> {
        let refuse = |call: &hook::Call| match call.syscall {
            Syscall::SetPipeSize => Action::Fail(libc::EPERM),
            _ => Action::Proceed,
        };
        matches!(self, How::PipeBudget).then(|| hook::replace(refuse))
    }
}

/// Three messages, longer than a small pipe and shorter than one read.
fn messages() -> Vec<Vec<u8>> {
    [60_000, 59_999, 60_000]
        .into_iter()
        .zip(1..)
        .map(|(len, seed)| data::bytes(seed, len))
        .collect()
}

fn send(to: &OwnedFd, messages: &[Vec<u8>]) {
    for message in messages {
        assert_eq!(rustix::io::write(to, message), Ok(message.len()));
    }
}

/// Copies what there is. A datagram socket has no end.
fn copy(
    copier: &mut Copier,
    source: &mut dyn ReadSource,
    sink: &mut dyn WriteSink,
) -> (Report, CopyError) {
    let error = copier.copy(source, sink).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
    (copier.report().clone(), error)
}

/// No byte of a message is lost on the way into a stream, and none is spliced.
#[test]
fn messages_arrive_whole_in_streams() {
    apart(|| {
        let cells = pairs(&pairs(&KINDS, &TYPES), &HOWS);
        each(cells, |&((kind, made), how)| {
            for into_file in [true, false] {
                let _leaks = fds::no_leaks();
                let (to, from) = kind.open();
                let sent = messages();
                send(&to, &sent);
                let file = files::on_disk(b"");
                let (socket, peer) = sockets::unix();
                rustix::net::sockopt::set_socket_send_buffer_size_force(&socket, 1 << 20).unwrap();
                let guard = how.hook();
                let recorder = hook::record();
                let mut source = made.source(from);
                let mut sink: Box<dyn WriteSink> =
                    if into_file { Box::new(file.try_clone().unwrap()) } else { Box::new(socket) };
                let (report, _) = copy(&mut how.copier(), &mut *source, &mut *sink);
                assert_eq!(recorder.calls_to(Syscall::Splice).len(), 0, "splices");
                drop((guard, sink));
                let mut got = Vec::new();
                if into_file {
                    got = files::contents(&file);
                } else {
                    std::io::Read::read_to_end(&mut &peer, &mut got).unwrap();
                }
                assert_same(&got, &sent.concat());
                assert_eq!(report.moved(), got.len() as u64);
            }
        });
    });
}

/// From message socket to message socket each message arrives as it was sent.
#[test]
fn messages_stay_messages() {
    apart(|| {
        let cells = pairs(&pairs(&KINDS, &KINDS), &pairs(&TYPES, &HOWS));
        each(cells, |&((one, other), (made, how))| {
            let _leaks = fds::no_leaks();
            let ((to, from), (out, into)) = (one.open(), other.open());
            let sent = messages();
            send(&to, &sent);
            let _hook = how.hook();
            let (mut source, mut sink) = (made.source(from), made.sink(out));
            copy(&mut how.copier(), &mut *source, &mut *sink);
            let mut buf = vec![0; 100_000];
            for message in &sent {
                let n = rustix::io::read(&into, &mut buf).unwrap();
                assert_same(&buf[..n], message);
            }
            assert_eq!(rustix::io::read(&into, &mut buf), Err(Errno::AGAIN), "one message more");
        });
    });
}

/// From a stream or a file into a message socket bytes are written, not spliced. Each write is a message, of what one
/// read has brought.
#[test]
fn bytes_of_a_stream_are_written_as_messages() {
    apart(|| {
        let cells = pairs(&pairs(&KINDS, &TYPES), &HOWS);
        each(cells, |&((kind, made), how)| {
            for from_file in [true, false] {
                let _leaks = fds::no_leaks();
                let (out, into) = kind.open();
                let data = data::bytes(7, 50_000);
                let mut source: Box<dyn ReadSource> = if from_file {
                    Box::new(files::on_disk(&data))
                } else {
                    let (client, server) = sockets::unix();
                    std::io::Write::write_all(&mut &client, &data).unwrap();
                    Box::new(server)
                };
                let mut sink = made.sink(out);
                let _hook = how.hook();
                let recorder = hook::record();
                let report = how.copier().copy(&mut *source, &mut *sink).unwrap();
                let calls =
                    [Syscall::Splice, Syscall::Sendfile].map(|call| recorder.calls_to(call).len());
                assert_eq!(calls, [0, 0], "splices and sendfiles");
                assert_eq!(report.moved(), 50_000);
                let mut buf = vec![0; 100_000];
                let n = rustix::io::read(&into, &mut buf).unwrap();
                assert_same(&buf[..n], &data);
            }
        });
    });
}

/// The engine asks once whether a socket keeps messages, and not again for each of them.
#[test]
fn a_socket_is_asked_once_a_plan() {
    apart(|| {
        each(pairs(&KINDS, &TYPES), |&(kind, made)| {
            let _leaks = fds::no_leaks();
            let (to, from) = kind.open();
            let sent: Vec<_> = (0..50).map(|seed| data::bytes(seed, 2000)).collect();
            send(&to, &sent);
            let file = files::on_disk(b"");
            let recorder = hook::record();
            let mut source = made.source(from);
            let mut copier = Copier::new().adaptive(false);
            copy(&mut copier, &mut *source, &mut &file);
            let asked = recorder.calls_to(Syscall::GetSockOpt).len();
            assert!((1..=3).contains(&asked), "{asked} questions");
            assert_same(&files::contents(&file), &sent.concat());
        });
    });
}

/// The tool looks at what its standard input is.
#[test]
fn the_tool_keeps_messages_whole() {
    apart_with_the_tool(|| {
        each([Kind::Seqpacket, Kind::UnixDatagram], |&kind| {
            let _leaks = fds::no_leaks();
            let (to, from) = kind.open();
            let sent = messages();
            send(&to, &sent);
            // An empty message is read as the end, and so is the end of a connection.
            if kind == Kind::UnixDatagram {
                assert_eq!(rustix::net::send(&to, &[], rustix::net::SendFlags::empty()), Ok(0));
            }
            drop(to);
            let file = files::on_disk(b"");
            tool::copies(from, file.try_clone().unwrap()).finish();
            assert_same(&files::contents(&file), &sent.concat());
        });
    });
}
