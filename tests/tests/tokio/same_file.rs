//! A file copied into itself: whole or not at all, however many steps it takes.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, BufReader};
use zc_testkit::data::{self, assert_same};
use zc_testkit::files;
use zc_tokio::{AsyncSource, Copier, FileAt, Options};

use crate::kit;

/// More than one step's.
const LEN: usize = 3_000_000;

#[test]
fn a_file_appended_to_itself_is_doubled() {
    kit::run(async {
        let data = data::bytes(1, LEN);
        let named = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(named.path(), &data).unwrap();
        let mut source = tokio::fs::File::open(named.path()).await.unwrap();
        let sink = File::options().append(true).open(named.path()).unwrap();
        let n = zc_tokio::copy(&mut source, &mut tokio::fs::File::from_std(sink)).await.unwrap();
        assert_eq!(n, LEN as u64);
        assert_same(&files::contents(named.as_file()), &[&data[..], &data].concat());

        let file = Arc::new(files::holding(&data));
        let mut source = FileAt::new(Arc::clone(&file), 0).unwrap();
        let mut sink = FileAt::new(Arc::clone(&file), LEN as u64).unwrap();
        assert_eq!(zc_tokio::copy(&mut source, &mut sink).await.unwrap(), LEN as u64);
        assert_eq!((source.offset(), sink.offset()), (LEN as u64, 2 * LEN as u64));
        assert_same(&files::contents(&file), &[&data[..], &data].concat());
    });
}

#[test]
fn a_part_is_copied_to_where_another_is() {
    kit::run(async {
        let (data, half) = (data::bytes(2, LEN), LEN / 2);
        let file = Arc::new(files::holding(&data));
        let mut source = FileAt::range(Arc::clone(&file), 0..half as u64).unwrap();
        let mut sink = FileAt::new(Arc::clone(&file), half as u64).unwrap();
        assert_eq!(zc_tokio::copy(&mut source, &mut sink).await.unwrap(), half as u64);
        assert_same(&files::contents(&file), &[&data[..half], &data[..half]].concat());
    });
}

/// The parts of single steps would not.
#[test]
fn parts_that_overlap_are_refused_before_a_byte_is_moved() {
    kit::run(async {
        let data = data::bytes(3, LEN);
        let file = Arc::new(files::holding(&data));
        let at = |range: Range<u64>| FileAt::range(Arc::clone(&file), range).unwrap();
        for budget in [16 * 1024, Options::default().budget] {
            let mut options = Options::default();
            options.budget = budget;
            let (mut source, mut sink) = (at(0..2_000_000), at(1_000_000..LEN as u64));
            let mut copier = Copier::with_options(options);
            let error = copier.run(&mut source, &mut sink).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!((copier.count(), copier.in_flight()), (0, 0));
            assert_eq!((source.offset(), sink.offset()), (0, 1_000_000));

            let mut source = at(0..LEN as u64).take(100_000);
            let mut sink = at(99_999..LEN as u64);
            let error =
                Copier::with_options(options).run(&mut source, &mut sink).await.unwrap_err();
            assert_eq!((error.kind(), source.limit()), (ErrorKind::InvalidInput, 100_000));
            assert_same(&files::contents(&file), &data);
        }
    });
}

/// Only a plan from descriptor to descriptor knows where such a copy ends: one that is read would go on with its own
/// tail.
#[test]
fn a_file_that_is_read_ahead_or_heads_a_chain_is_not_appended_to_itself() {
    kit::run(async {
        let data = data::bytes(4, LEN);
        let named = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(named.path(), &data).unwrap();
        let open = || tokio::fs::File::from_std(File::open(named.path()).unwrap());
        let mut options = Options::default();
        options.limits.0 = 4 * LEN as u64;
        let mut ahead = BufReader::new(open());
        ahead.read_u8().await.unwrap();
        let sources: [Box<dyn AsyncSource>; 4] = [
            Box::new(tokio::io::empty().chain(open())),
            Box::new(open().chain(tokio::io::empty())),
            Box::new(ahead),
            Box::new((&b"header"[..]).chain(open())),
        ];
        for (n, mut source) in sources.into_iter().enumerate() {
            let sink = File::options().append(true).open(named.path()).unwrap();
            let mut copier = Copier::with_options(options);
            let outcome = copier.run(&mut source, &mut tokio::fs::File::from_std(sink)).await;
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::InvalidInput, "source {n}");
            assert_eq!((copier.count(), copier.in_flight()), (0, 0), "source {n}");
            assert_same(&files::contents(named.as_file()), &data);
        }
    });
}

/// Of devices any number may be open.
#[test]
fn a_device_is_copied_into_itself() {
    kit::run(async {
        let mut source = tokio::fs::File::open("/dev/zero").await.unwrap().take(100_000);
        let mut sink = File::options().write(true).open("/dev/zero").unwrap().into();
        let mut source = (&mut source).chain(tokio::io::empty());
        let moved = zc_tokio::copy::<_, tokio::fs::File>(&mut source, &mut sink).await.unwrap();
        assert_eq!(moved, 100_000);
    });
}
