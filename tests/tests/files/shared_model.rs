//! Users of one file, each with its own layers, options and mix of reads and copies. Every byte of the file goes to
//! one of them, once.

use std::fs::File;
use std::io::{BufReader, Read};
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use zc_std::{Copier, Opaque, Progress, ReadSource};
use zc_testkit::each_cell::joined;
use zc_testkit::numbered_words::{self, assert_shared, words};
use zc_testkit::{fds, files};

/// What a user does next.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// One read of at most this many bytes.
    Read(usize),
    /// A copy of at most this many bytes, through this layer.
    Copy(u64, Wrap),
}

#[derive(Clone, Copy, Debug)]
enum Wrap {
    Bare,
    Progress,
    Opaque,
    /// Around the limit: it reads nothing ahead that others would miss.
    Buffer(usize),
}

/// A user: its copier's options, and what it does.
#[derive(Clone, Debug)]
struct User {
    adaptive: bool,
    pipe_size: usize,
    acts: Vec<Act>,
}

#[derive(Clone, Debug)]
struct Case {
    count: u32,
    on_disk: bool,
    /// All users copy into one open file.
    one_sink: bool,
    users: Vec<User>,
}

fn act() -> impl Strategy<Value = Act> {
    let wrap = prop_oneof![
        Just(Wrap::Bare),
        Just(Wrap::Progress),
        Just(Wrap::Opaque),
        (1_usize..9000).prop_map(Wrap::Buffer),
    ];
    prop_oneof![
        (1_usize..20_000).prop_map(Act::Read),
        (1_u64..300_000, wrap).prop_map(|(n, wrap)| Act::Copy(n, wrap)),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let sizes = prop_oneof![Just(4096_usize), Just(8192), Just(65_536), Just(1 << 20)];
    let user = (any::<bool>(), sizes, vec(act(), 0..6));
    let user = user.prop_map(|(adaptive, pipe_size, acts)| User { adaptive, pipe_size, acts });
    let users = vec(user, 1..5);
    (0_u32..100_000, any::<bool>(), any::<bool>(), users)
        .prop_map(|(count, on_disk, one_sink, users)| Case { count, on_disk, one_sink, users })
}

fn holding(on_disk: bool, data: &[u8]) -> File {
    if on_disk { files::on_disk(data) } else { files::holding(data) }
}

/// Does what the user does. Returns what its reads brought.
fn work(user: &User, mut file: &File, mut sink: &File) -> Vec<u8> {
    let mut copier = Copier::new().adaptive(user.adaptive).pipe_size(user.pipe_size);
    let mut got = Vec::new();
    for act in &user.acts {
        match *act {
            Act::Read(n) => {
                let mut buffer = vec![0; n];
                let n = file.read(&mut buffer).unwrap();
                got.extend(&buffer[..n]);
            }
            Act::Copy(n, wrap) => {
                let limited = file.take(n);
                let mut source: Box<dyn ReadSource> = match wrap {
                    Wrap::Bare => Box::new(limited),
                    Wrap::Progress => Box::new(Progress::new(limited, |n| assert!(n > 0))),
                    Wrap::Opaque => Box::new(Opaque(limited)),
                    Wrap::Buffer(size) => Box::new(BufReader::with_capacity(size, limited)),
                };
                let report = copier.copy(&mut *source, &mut sink).unwrap();
                assert!(report.moved() <= n);
            }
        }
    }
    got
}

fn run(case: &Case) {
    let _leaks = fds::no_leaks();
    let data = words(case.count);
    let source = holding(case.on_disk, &data);
    let own = || holding(!case.on_disk, b"");
    let sinks: Vec<File> = if case.one_sink {
        let sink = own();
        case.users.iter().map(|_| sink.try_clone().unwrap()).collect()
    } else {
        case.users.iter().map(|_| own()).collect()
    };
    let mut streams = thread::scope(|scope| {
        let users = case.users.iter().zip(&sinks);
        let spawn = |(user, sink)| {
            let source = &source;
            scope.spawn(move || work(user, source, sink))
        };
        let threads: Vec<_> = users.map(spawn).collect();
        threads.into_iter().map(joined).collect::<Vec<_>>()
    });
    let mut rest = Vec::new();
    (&source).read_to_end(&mut rest).unwrap();
    streams.push(rest);
    let different = if case.one_sink { 1 } else { sinks.len() };
    let written: Vec<_> = sinks.iter().take(different).map(files::contents).collect();
    for (sink, written) in sinks.iter().zip(&written) {
        assert_eq!(files::position(sink), written.len() as u64, "where a sink stands");
    }
    assert_eq!(files::position(&source), data.len() as u64, "where the source stands");
    if case.one_sink {
        // The order of the users' bytes in the shared sink is not known.
        streams.extend(written);
        let shares = numbered_words::shares(case.count, &streams);
        assert_eq!((shares.total, shares.doubled), (data.len(), 0), "{shares:?}");
    } else {
        streams.extend(written);
        assert_shared(case.count, &streams);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_none() { 200 } else { ProptestConfig::default().cases },
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_byte_goes_to_one_user(case in case()) {
        run(&case);
    }
}
