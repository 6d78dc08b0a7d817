//! Random stacks of wrappers over random ends, against a model in memory.
//!
//! A source is a tree: leaves with known bytes, and layers that cut, join, buffer or watch. The model says what comes
//! out of a tree ([`Node::stream`]). After a run of reads and copies every layer is taken apart and accounts for
//! every byte. What a leaf no longer has has passed each layer above it (limits fell by that much, counters rose by
//! that much), lies in a buffer, or came out.
//!
//! A sink may be a file that another thread writes to through the same open file. A source may not: a race decides
//! how much another reader takes of it, and no model knows that. For that there are `company/shared_source.rs` and
//! the soak.
//!
//! `PROPTEST_CASES=100000 cargo test -p zc-testkit --test model` looks harder.

use std::cell::Cell;
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Chain, Cursor, ErrorKind, LineWriter, Read};
use std::io::{PipeReader, Seek, SeekFrom, Take, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use zc_std::{Copier, Opaque, Progress, ReadSource, Source, WriteSink};

// ---------------------------------------------------------------------------------------------
// What is tried

/// Where bytes come from.
#[derive(Clone, Copy, Debug)]
enum From {
    Memory,
    OpaqueMemory,
    /// A file, from this offset on.
    File(usize),
    Tcp {
        nonblocking: bool,
    },
    Unix {
        nonblocking: bool,
    },
    OpaqueUnix,
    Pipe,
}

/// A tree of layers.
#[derive(Clone, Debug)]
enum Node {
    Leaf { from: From, len: usize, piece: usize, salt: u8 },
    Take { limit: u64, inner: Box<Node> },
    Buffer { capacity: usize, inner: Box<Node> },
    Chain(Box<Node>, Box<Node>),
    Progress(Box<Node>),
    Opaque(Box<Node>),
}

/// Where bytes go.
#[derive(Clone, Copy, Debug)]
enum To {
    Memory,
    File {
        append: bool,
    },
    /// A file that another thread writes to through the same open file.
    SharedFile {
        append: bool,
    },
    Tcp {
        nonblocking: bool,
    },
    Unix {
        nonblocking: bool,
    },
    Pipe,
}

/// The layers above it, innermost first.
#[derive(Clone, Copy, Debug)]
enum Over {
    Buffer(usize),
    Lines(usize),
    Progress,
    Opaque,
}

#[derive(Clone, Debug)]
struct Destination {
    to: To,
    over: Vec<Over>,
    /// Written before the copy, so that the buffers hold something.
    prefix: usize,
}

/// What is done with the source before a last copy takes the rest.
#[derive(Clone, Copy, Debug)]
enum Act {
    Read(usize),
    Copy(u64),
}

#[derive(Clone, Debug)]
struct Case {
    source: Node,
    sink: Destination,
    acts: Vec<Act>,
    adaptive: bool,
    pipe_size: usize,
}

/// Numbers below one of `bounds`, each bound as likely as the next. (A union of ranges would do, but its failures
/// shrink badly.)
fn below(bounds: &'static [usize]) -> impl Strategy<Value = usize> + Clone {
    (0..bounds.len(), 0..1_000_000_usize).prop_map(move |(i, part)| bounds[i] * part / 1_000_000)
}

fn lengths() -> impl Strategy<Value = usize> + Clone {
    below(&[40, 40, 5000, 5000, 40_000, 40_000, 400_000])
}

fn leaf() -> impl Strategy<Value = Node> {
    let from = prop_oneof![
        Just(From::Memory),
        Just(From::OpaqueMemory),
        (0..5000_usize).prop_map(From::File),
        any::<bool>().prop_map(|nonblocking| From::Unix { nonblocking }),
        any::<bool>().prop_map(|nonblocking| From::Tcp { nonblocking }),
        Just(From::OpaqueUnix),
        Just(From::Pipe),
    ];
    let piece = below(&[100, 9000, 1_000_000]);
    (from, lengths(), piece, any::<u8>()).prop_map(|(from, len, piece, salt)| {
        // Tiny pieces of a large input would take too long.
        let piece = piece.max(1 + len / 50);
        Node::Leaf { from, len, piece, salt }
    })
}

fn node() -> impl Strategy<Value = Node> {
    (0..5).fold(leaf().boxed(), |inner, _| {
        let boxed = inner.prop_map(Box::new);
        let limit = below(&[200, 200, 200, 5000, 40_000]);
        let capacity = below(&[50, 3000, 8192]).prop_map(|capacity| 1 + capacity);
        prop_oneof![
            2 => leaf(),
            3 => (limit, boxed.clone())
                .prop_map(|(limit, inner)| Node::Take { limit: limit as u64, inner }),
            3 => (capacity, boxed.clone())
                .prop_map(|(capacity, inner)| Node::Buffer { capacity, inner }),
            2 => (boxed.clone(), boxed.clone()).prop_map(|(a, b)| Node::Chain(a, b)),
            1 => boxed.clone().prop_map(Node::Progress),
            1 => boxed.prop_map(Node::Opaque),
        ]
        .boxed()
    })
}

fn destination() -> impl Strategy<Value = Destination> {
    let to = prop_oneof![
        Just(To::Memory),
        any::<bool>().prop_map(|append| To::File { append }),
        any::<bool>().prop_map(|append| To::SharedFile { append }),
        any::<bool>().prop_map(|nonblocking| To::Tcp { nonblocking }),
        any::<bool>().prop_map(|nonblocking| To::Unix { nonblocking }),
        Just(To::Pipe),
    ];
    let over = prop_oneof![
        2 => (1..9000_usize).prop_map(Over::Buffer),
        1 => (1..3000_usize).prop_map(Over::Lines),
        1 => Just(Over::Progress),
        1 => Just(Over::Opaque),
    ];
    (to, prop::collection::vec(over, 0..4), 0..10_000_usize)
        .prop_map(|(to, over, prefix)| Destination { to, over, prefix })
}

fn case() -> impl Strategy<Value = Case> {
    let act = prop_oneof![
        below(&[60, 60, 9000]).prop_map(Act::Read),
        lengths().prop_map(|n| Act::Copy(n as u64)),
    ];
    let pipe_size = prop_oneof![Just(4096_usize), Just(64 << 10), Just(256 << 10)];
    (node(), destination(), prop::collection::vec(act, 0..4), any::<bool>(), pipe_size).prop_map(
        |(source, sink, acts, adaptive, pipe_size)| Case {
            source,
            sink,
            acts,
            adaptive,
            pipe_size,
        },
    )
}

fn bytes(len: usize, salt: u8) -> Vec<u8> {
    // Bytes differ at every two places that a bug might confuse.
    let byte = |i: usize| (i ^ (i >> 8) ^ (i >> 16)) as u8 ^ (i as u8).rotate_left(3) ^ salt;
    (0..len).map(|i| byte(i) & !OTHERS).collect()
}

/// A bit that only bytes of the other writer of a shared file have.
const OTHERS: u8 = 0x80;

impl Node {
    /// The model: what comes out.
    fn stream(&self) -> Vec<u8> {
        match self {
            Node::Leaf { len, salt, .. } => bytes(*len, *salt),
            Node::Take { limit, inner } => {
                let mut stream = inner.stream();
                stream.truncate(usize::try_from(*limit).unwrap());
                stream
            }
            Node::Chain(first, second) => [first.stream(), second.stream()].concat(),
            Node::Buffer { inner, .. } | Node::Progress(inner) | Node::Opaque(inner) => {
                inner.stream()
            }
        }
    }

    /// The source that the model describes.
    fn build(&self) -> Stack {
        match self {
            &Node::Leaf { from, len, piece, salt } => Leaf::open(from, bytes(len, salt), piece),
            Node::Take { limit, inner } => Box::new(inner.build().take(*limit)),
            Node::Buffer { capacity, inner } => {
                Box::new(BufReader::with_capacity(*capacity, inner.build()))
            }
            Node::Chain(first, second) => Box::new(first.build().chain(second.build())),
            Node::Progress(inner) => {
                let seen = Rc::new(Cell::new(0));
                let sees = Rc::clone(&seen);
                let add = move |n: u64| sees.set(sees.get() + n);
                Box::new(Watched { progress: Progress::new(inner.build(), add), seen })
            }
            Node::Opaque(inner) => Box::new(Opaque(inner.build())),
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Sources that can be taken apart

/// A source with its layers, each of which can account for itself.
trait Layer: ReadSource {
    /// How many bytes have come out of this layer, by what is left in it and below it.
    fn account(&mut self, model: &Node) -> usize;
}

type Stack = Box<dyn Layer>;

impl Layer for Take<Stack> {
    fn account(&mut self, model: &Node) -> usize {
        let Node::Take { limit, inner } = model else { unreachable!() };
        let passed = self.get_mut().account(inner);
        assert_eq!(limit - self.limit(), passed as u64, "a limit fell by another number");
        passed
    }
}

impl Layer for BufReader<Stack> {
    fn account(&mut self, model: &Node) -> usize {
        let Node::Buffer { inner, .. } = model else { unreachable!() };
        let came = self.get_mut().account(inner);
        let passed = came - self.buffer().len();
        assert!(self.buffer() == &inner.stream()[passed..came], "a buffer holds other bytes");
        passed
    }
}

impl Layer for Chain<Stack, Stack> {
    fn account(&mut self, model: &Node) -> usize {
        let Node::Chain(one, two) = model else { unreachable!() };
        let (first, second) = self.get_mut();
        let (first, second) = (first.account(one), second.account(two));
        assert!(second == 0 || first == one.stream().len(), "a chain went on too early");
        first + second
    }
}

struct Watched<F> {
    progress: Progress<Stack, F>,
    seen: Rc<Cell<u64>>,
}

impl<F: FnMut(u64)> Read for Watched<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.progress.read(buf)
    }
}

impl<F: FnMut(u64)> Source for Watched<F> {
    fn upstream(&mut self) -> zc_std::Upstream<'_> {
        zc_std::Upstream::through(&mut self.progress)
    }
}

impl<F: FnMut(u64)> Layer for Watched<F> {
    fn account(&mut self, model: &Node) -> usize {
        let Node::Progress(inner) = model else { unreachable!() };
        let passed = self.progress.get_mut().account(inner);
        assert_eq!(self.seen.get(), passed as u64, "progress was told another number");
        passed
    }
}

impl Layer for Opaque<Stack> {
    fn account(&mut self, model: &Node) -> usize {
        let Node::Opaque(inner) = model else { unreachable!() };
        self.0.account(inner)
    }
}

/// A leaf, and what feeds it.
struct Leaf<S> {
    source: S,
    feeder: Option<JoinHandle<()>>,
}

impl Leaf<()> {
    fn open(from: From, bytes: Vec<u8>, piece: usize) -> Stack {
        match from {
            From::Memory => Leaf::boxed(Cursor::new(bytes), None),
            From::OpaqueMemory => Leaf::boxed(Opaque(Cursor::new(bytes)), None),
            From::File(offset) => {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&vec![0xee; offset]).unwrap();
                file.write_all(&bytes).unwrap();
                file.seek(SeekFrom::Start(offset as u64)).unwrap();
                Leaf::boxed(file, None)
            }
            From::Tcp { nonblocking } => {
                let (near, far) = tcp_pair();
                near.set_nonblocking(nonblocking).unwrap();
                Leaf::boxed(near, Some(feed(far, bytes, piece)))
            }
            From::Unix { nonblocking } => {
                let (near, far) = UnixStream::pair().unwrap();
                near.set_nonblocking(nonblocking).unwrap();
                Leaf::boxed(near, Some(feed(far, bytes, piece)))
            }
            From::OpaqueUnix => {
                let (near, far) = UnixStream::pair().unwrap();
                Leaf::boxed(Opaque(near), Some(feed(far, bytes, piece)))
            }
            From::Pipe => {
                let (near, far) = io::pipe().unwrap();
                Leaf::boxed(near, Some(feed(far, bytes, piece)))
            }
        }
    }
}

impl<S: ReadSource + 'static> Leaf<S> {
    fn boxed(source: S, feeder: Option<JoinHandle<()>>) -> Stack {
        Box::new(Leaf { source, feeder })
    }
}

impl<S: Read> Read for Leaf<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.read(buf)
    }
}

/// The leaf is the source itself, and not a layer around it.
impl<S: Source> Source for Leaf<S> {
    fn upstream(&mut self) -> zc_std::Upstream<'_> {
        self.source.upstream()
    }
    fn buffered(&self) -> &[u8] {
        self.source.buffered()
    }
    fn consume_buffered(&mut self, n: usize) {
        self.source.consume_buffered(n);
    }
    fn taken(&mut self, n: u64) {
        self.source.taken(n);
    }
}

impl<S: ReadSource> Layer for Leaf<S> {
    fn account(&mut self, model: &Node) -> usize {
        let bytes = model.stream();
        let rest = patiently(|| {
            let mut buf = vec![0; 1 << 16];
            let n = self.source.read(&mut buf)?;
            buf.truncate(n);
            Ok(buf)
        });
        assert!(rest.len() <= bytes.len(), "more was read than was there");
        let passed = bytes.len() - rest.len();
        assert!(rest == bytes[passed..], "the rest of the input has changed");
        if let Some(feeder) = self.feeder.take() {
            feeder.join().unwrap();
        }
        passed
    }
}

/// Repeats until nothing more comes, through `WouldBlock`.
fn patiently(mut read: impl FnMut() -> io::Result<Vec<u8>>) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match read() {
            Ok(some) if some.is_empty() => return all,
            Ok(some) => all.extend(some),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn feed(mut far: impl Write + Send + 'static, bytes: Vec<u8>, piece: usize) -> JoinHandle<()> {
    thread::spawn(move || {
        for piece in bytes.chunks(piece) {
            // Fails only if the test has failed and is over.
            let _ = far.write_all(piece);
            thread::yield_now();
        }
    })
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

// ---------------------------------------------------------------------------------------------
// Sinks

/// The far end of a sink.
enum Drain {
    Memory(Vec<u8>),
    File { file: File, offset: usize, other: Option<Other> },
    Thread(JoinHandle<Vec<u8>>),
}

/// Another writer of the same open file.
struct Other {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u8>>,
}

impl Other {
    /// The writer has begun when this returns.
    fn start(mut file: File) -> Other {
        // A guard for the disk: a copy ends before so much is written.
        const PIECES: usize = 10_000;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, begun) = (Arc::clone(&stop), Arc::new(Barrier::new(2)));
        let begins = Arc::clone(&begun);
        let thread = thread::spawn(move || {
            let mut written = Vec::new();
            for number in 0..PIECES {
                let mut piece = bytes(100, number as u8);
                piece.iter_mut().for_each(|byte| *byte |= OTHERS);
                file.write_all(&piece).unwrap();
                written.extend(piece);
                if number == 0 {
                    begins.wait();
                }
                if stopped.load(Relaxed) {
                    break;
                }
            }
            written
        });
        begun.wait();
        Other { stop, thread }
    }

    fn finish(self) -> Vec<u8> {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap()
    }
}

/// A sink, and where its bytes can be looked at.
enum Near {
    Memory,
    File(File),
    Tcp(TcpStream),
    Unix(UnixStream),
    Pipe(io::PipeWriter),
}

const FILE_OFFSET: usize = 77;

fn open_sink(to: To) -> (Near, Drain) {
    match to {
        To::Memory => (Near::Memory, Drain::Memory(Vec::new())),
        To::File { append } => {
            let (near, file) = open_file(append);
            (Near::File(near), Drain::File { file, offset: FILE_OFFSET, other: None })
        }
        To::SharedFile { append } => {
            let (near, file) = open_file(append);
            let other = Some(Other::start(file.try_clone().unwrap()));
            (Near::File(near), Drain::File { file, offset: FILE_OFFSET, other })
        }
        To::Tcp { nonblocking } => {
            let (near, far) = tcp_pair();
            near.set_nonblocking(nonblocking).unwrap();
            (Near::Tcp(near), collect(far))
        }
        To::Unix { nonblocking } => {
            let (near, far) = UnixStream::pair().unwrap();
            near.set_nonblocking(nonblocking).unwrap();
            (Near::Unix(near), collect(far))
        }
        To::Pipe => {
            let (far, near): (PipeReader, _) = io::pipe().unwrap();
            (Near::Pipe(near), collect(far))
        }
    }
}

/// A file with something in it, opened once and held twice.
fn open_file(append: bool) -> (File, File) {
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&path, [0xee; FILE_OFFSET]).unwrap();
    let mut options = File::options();
    let mut file = options.read(true).append(append).write(true).open(&path).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    let again = file.try_clone().unwrap();
    (file, again)
}

fn collect(mut far: impl Read + Send + 'static) -> Drain {
    Drain::Thread(thread::spawn(move || {
        let mut all = Vec::new();
        far.read_to_end(&mut all).unwrap();
        all
    }))
}

fn stack_sink<'s>(
    near: Near,
    memory: Option<&'s mut Vec<u8>>,
    over: &[Over],
) -> Box<dyn WriteSink + 's> {
    let mut sink: Box<dyn WriteSink + 's> = match near {
        Near::Memory => Box::new(memory.expect("somewhere to write to")),
        Near::File(file) => Box::new(file),
        Near::Tcp(stream) => Box::new(stream),
        Near::Unix(stream) => Box::new(stream),
        Near::Pipe(pipe) => Box::new(pipe),
    };
    for over in over {
        sink = match *over {
            Over::Buffer(capacity) => Box::new(BufWriter::with_capacity(capacity, sink)),
            Over::Lines(capacity) => Box::new(LineWriter::with_capacity(capacity, sink)),
            Over::Progress => Box::new(Progress::new(sink, |n| assert!(n > 0))),
            Over::Opaque => Box::new(Opaque(sink)),
        };
    }
    sink
}

// ---------------------------------------------------------------------------------------------
// The run

/// How many descriptors are open, without those of idle pipes in the pool.
fn descriptors() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    open - 2 * zc_std::pool::idle()
}

fn run(case: &Case) {
    let before = descriptors();
    assert_eq!(zc_std::pool::in_use(), 0);
    let expected = case.source.stream();
    let mut source = case.source.build();
    let prefix = bytes(case.sink.prefix, 0x5a);

    let (near, mut drain) = open_sink(case.sink.to);
    let mut memory = Vec::new();
    let mut sink = stack_sink(near, Some(&mut memory), &case.sink.over);
    write_patiently(&mut *sink, &prefix);

    let mut copier = Copier::new().adaptive(case.adaptive).pipe_size(case.pipe_size);
    // What was read does not reach the sink. What was copied does, all of it.
    let (mut at, mut copied) = (0, Vec::new());
    for act in &case.acts {
        match *act {
            Act::Read(n) => {
                let want = n.min(expected.len() - at);
                let got = read_patiently(&mut *source, want);
                assert!(got == expected[at..at + want], "`read` gave other bytes");
                at += want;
            }
            Act::Copy(n) => {
                let want = (n as usize).min(expected.len() - at);
                let mut limited = (&mut source).take(n);
                assert_eq!(copy_patiently(&mut copier, &mut limited, &mut *sink), want as u64);
                assert_eq!(limited.limit(), n - want as u64);
                copied.extend_from_slice(&expected[at..at + want]);
                at += want;
            }
        }
    }
    let rest = (expected.len() - at) as u64;
    assert_eq!(copy_patiently(&mut copier, &mut source, &mut *sink), rest);
    copied.extend_from_slice(&expected[at..]);
    assert_eq!(copier.in_flight(), 0);

    // The end has come, and stays.
    assert_eq!(copy_patiently(&mut copier, &mut source, &mut *sink), 0);
    assert_eq!(read_patiently(&mut *source, 10), b"");

    assert_eq!(source.account(&case.source), expected.len(), "not all that passed has come out");
    drop(source);

    while let Err(error) = sink.flush() {
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
        thread::yield_now();
    }
    drop(sink);
    if let Drain::Memory(into) = &mut drain {
        *into = std::mem::take(&mut memory);
    }
    let got = match drain {
        Drain::Memory(got) => got,
        Drain::File { mut file, offset, other } => {
            let theirs = other.map_or_else(Vec::new, Other::finish);
            let end = (offset + prefix.len() + copied.len() + theirs.len()) as u64;
            assert_eq!(file.stream_position().unwrap(), end, "the file's offset is elsewhere");
            let mut got = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut got).unwrap();
            assert!(got[..offset].iter().all(|&byte| byte == 0xee));
            let (others, ours): (Vec<u8>, Vec<u8>) =
                got.split_off(offset).into_iter().partition(|byte| byte & OTHERS != 0);
            assert!(others == theirs, "the other writer's bytes are not all there");
            ours
        }
        Drain::Thread(thread) => thread.join().unwrap(),
    };
    assert_eq!(got.len(), prefix.len() + copied.len(), "the sink got another number of bytes");
    assert!(got[..prefix.len()] == prefix, "what was written before came out otherwise");
    assert!(got[prefix.len()..] == copied, "the sink got other bytes");

    assert_eq!(zc_std::pool::in_use(), 0, "a pipe was not given back");
    assert_eq!(descriptors(), before, "a descriptor leaked");
}

/// Copies until the end, through `WouldBlock`.
fn copy_patiently(
    copier: &mut Copier,
    source: &mut dyn ReadSource,
    sink: &mut dyn WriteSink,
) -> u64 {
    let mut moved = 0;
    loop {
        match copier.copy(source, sink) {
            Ok(report) => return moved + report.moved(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                moved += error.moved();
                thread::yield_now();
            }
        }
    }
}

/// Reads until there are `n` bytes, or the end.
fn read_patiently(source: &mut dyn ReadSource, n: usize) -> Vec<u8> {
    let mut left = n;
    patiently(|| {
        let mut buf = vec![0; left.min(700)];
        let n = source.read(&mut buf)?;
        buf.truncate(n);
        left -= n;
        Ok(buf)
    })
}

fn write_patiently(sink: &mut dyn WriteSink, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn config() -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 800;
    }
    config
}

// One test alone: it counts the descriptors of the whole process.
proptest! {
    #![proptest_config(config())]

    #[test]
    fn copies_agree_with_the_model(case in case()) {
        run(&case);
    }
}
