//! Holes stay holes, on every file system that has them, and the bytes stay the same.

use std::fs;
use std::path::Path;

use zc_testkit::cli::{binary, run, scratch, zc};
use zc_testkit::data::bytes;
use zc_testkit::mounts::Mount;
use zc_testkit::skip::or_skip;
use zc_testkit::sparse::{LAYOUTS, blocks, make};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Copies every layout in every way that keeps holes.
fn copies(dir: &Path, what: &str) {
    let (from, to) = (dir.join("from"), dir.join("to"));
    for (len, data) in LAYOUTS {
        make(&from, (len, data));
        let content = fs::read(&from).unwrap();
        for options in [&[][..], &["--in-place"], &["--resume"]] {
            let _ = fs::remove_file(&to);
            match options {
                ["--in-place"] => fs::write(&to, bytes(9, 3 * MIB as usize)).unwrap(),
                ["--resume"] => fs::write(&to, &content[..content.len() / 3]).unwrap(),
                _ => {}
            }
            let there = if options == ["--resume"] { blocks(&to) } else { 0 };
            run(zc(["cp", "--expect", &len.to_string()]).args(options).args([&from, &to]), b"")
                .expect_success();
            assert!(fs::read(&to).unwrap() == content, "{what} {len} {data:?} {options:?}");
            // The copy may have one cluster or part of an extent more than the original.
            let (most, now) = (blocks(&from) + there + 2 * 128, blocks(&to));
            assert!(now <= most, "{what} {len} {data:?} {options:?}: {now} blocks");
        }
    }
}

#[test]
fn keeps_holes() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    copies(dir.path(), "disk");
    copies(scratch().path(), "scratch");
}

#[test]
fn keeps_holes_on_other_file_systems() {
    let mounts = [Mount::tmpfs(100 * KIB), Mount::ext4(100), Mount::xfs(300), Mount::btrfs(300)];
    for mount in mounts.into_iter().filter_map(or_skip) {
        copies(&mount.root(), mount.kind());
    }
}

/// FUSE may not know where the holes are.
#[test]
fn copies_on_a_file_system_without_holes() {
    let Some(mount) = or_skip(Mount::fuse(100)) else { return };
    let (from, to) = (mount.path("from"), mount.path("to"));
    make(&from, (20 * MIB, &[(MIB, MIB)]));
    run(zc(["cp"]).args([&from, &to]), b"").expect_success();
    assert!(fs::read(&to).unwrap() == fs::read(&from).unwrap());
}

#[test]
fn counts_holes_in_limits_and_reports() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    make(&from, (64 * MIB, &[(MIB, MIB), (50 * MIB, MIB)]));
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
    // `--expect` counts holes, too, and 65 MiB are more than there are.
    run(zc(["cp", "--expect", "65M"]).args([&from, &to]), b"")
        .expect_failure(3, &["expected, after 67108864 bytes"]);
    // A sink that is no file gets zeros.
    let outcome = run(zc(["cp"]).arg(&from).arg("-"), b"");
    outcome.expect_success();
    assert!(outcome.stdout == content);
}

/// Also files that the shell has opened have their holes kept. One that is appended to gets zeros.
#[test]
fn keeps_holes_of_files_that_the_shell_opened() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    make(&from, (64 * MIB, &[(MIB, MIB)]));
    let content = fs::read(&from).unwrap();
    for (how, holes) in [("<\"$1\" >\"$2\"", true), ("<\"$1\" >>\"$2\"", false)] {
        let _ = fs::remove_file(&to);
        let script = format!("\"$0\" cp - - {how}");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]).arg(binary()).args([&from, &to]);
        run(&mut shell, b"").expect_success();
        assert!(fs::read(&to).unwrap() == content, "{how}");
        assert_eq!(blocks(&to) * 512 < 2 * MIB, holes, "{how}");
    }
}
