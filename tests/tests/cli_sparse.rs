//! Holes stay holes, wherever they are, and the bytes stay the same.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use zc_testkit::cli::{bytes, run, scratch, zc};
use zc_testkit::mounts::Mount;
use zc_testkit::skip::or_skip;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Files with data here and there: lengths, and what is where.
const LAYOUTS: [(u64, &[(u64, u64)]); 8] = [
    (16 * MIB, &[]),
    (16 * MIB, &[(0, 5 * KIB)]),
    (16 * MIB, &[(9 * MIB, MIB + 1)]),
    (16 * MIB, &[(16 * MIB - 1, 1)]),
    (16 * MIB + 3, &[(0, 1), (MIB, MIB), (7 * MIB + 7, 300 * KIB), (15 * MIB, MIB)]),
    (1, &[]),
    (4097, &[(4096, 1)]),
    (3 * MIB, &[(0, 3 * MIB)]),
];

fn make(path: &Path, len: u64, data: &[(u64, u64)]) {
    let file = File::create(path).unwrap();
    file.set_len(len).unwrap();
    for &(at, len) in data {
        file.write_all_at(&bytes(len as usize, at + 1), at).unwrap();
    }
    file.sync_all().unwrap();
}

fn blocks(path: &Path) -> u64 {
    // What is not written yet has no blocks on some file systems.
    File::open(path).unwrap().sync_all().unwrap();
    fs::metadata(path).unwrap().blocks()
}

/// Copies every layout in every way in which holes can be kept.
fn copies(dir: &Path, what: &str) {
    let (from, to) = (dir.join("from"), dir.join("to"));
    for (len, data) in LAYOUTS {
        make(&from, len, data);
        let content = fs::read(&from).unwrap();
        for options in [&[][..], &["--in-place"], &["--resume"]] {
            let _ = fs::remove_file(&to);
            match options {
                ["--in-place"] => fs::write(&to, bytes(3 * MIB as usize, 9)).unwrap(),
                ["--resume"] => fs::write(&to, &content[..content.len() / 3]).unwrap(),
                _ => {}
            }
            let there = if options == ["--resume"] { blocks(&to) } else { 0 };
            run(zc(["cp", "--expect", &len.to_string()]).args(options).args([&from, &to]), b"")
                .expect_success();
            assert!(fs::read(&to).unwrap() == content, "{what} {len} {data:?} {options:?}");
            // A cluster or an extent's tail more than the original has.
            let (most, now) = (blocks(&from) + there + 2 * 128, blocks(&to));
            assert!(now <= most, "{what} {len} {data:?} {options:?}: {now} blocks");
        }
    }
}

#[test]
fn holes() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    copies(dir.path(), "disk");
    copies(scratch().path(), "scratch");
}

#[test]
fn holes_on_other_file_systems() {
    let mounts = [Mount::tmpfs(100 * KIB), Mount::ext4(100), Mount::xfs(300), Mount::btrfs(300)];
    for mount in mounts.into_iter().filter_map(or_skip) {
        copies(&mount.root(), mount.kind());
    }
}

/// FUSE may not know where the holes are.
#[test]
fn file_system_without_holes() {
    let Some(mount) = or_skip(Mount::fuse(100)) else { return };
    let (from, to) = (mount.path("from"), mount.path("to"));
    make(&from, 20 * MIB, &[(MIB, MIB)]);
    run(zc(["cp"]).args([&from, &to]), b"").expect_success();
    assert!(fs::read(&to).unwrap() == fs::read(&from).unwrap());
}

#[test]
fn limits_and_counts() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    make(&from, 64 * MIB, &[(MIB, MIB), (50 * MIB, MIB)]);
    let content = fs::read(&from).unwrap();
    for limit in [0, 1, MIB, MIB + 1, 2 * MIB - 1, 40 * MIB + 5, 51 * MIB, 64 * MIB, 65 * MIB] {
        let end = limit.min(64 * MIB) as usize;
        let args = ["cp", "--json", "--limit", &limit.to_string()];
        let outcome = run(zc(args).args([&from, &to]), b"");
        let object: serde_json::Value = serde_json::from_slice(&outcome.stdout).unwrap();
        assert_eq!(object["moved"], end, "{limit}");
        let holes = object["holes"].as_u64().unwrap();
        assert!(holes <= end as u64 && (end < 60 * MIB as usize || holes > 60 * MIB), "{holes}");
        assert!(fs::read(&to).unwrap() == content[..end], "{limit}");
    }
    // A hole is what was expected, too; more is not.
    run(zc(["cp", "--expect", "65M"]).args([&from, &to]), b"")
        .expect_failure(3, &["expected, after 67108864 bytes"]);
    // To what is no file of ours, zeros go.
    let outcome = run(zc(["cp"]).arg(&from).arg("-"), b"");
    outcome.expect_success();
    assert!(outcome.stdout == content);
}
