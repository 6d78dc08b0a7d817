//! What a test says when this machine lacks what it needs.
//!
//! With `ZC_NO_SKIP` set, for machines that have everything, the test fails instead. libtest does not show what a
//! test prints that passes. So what is skipped is also written to the file that `ZC_SKIPPED` names, and `cargo xtask
//! test` and the gate show it at their end.

use std::env;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::thread;

/// What is wanted. If it cannot be had, says that the test is skipped, and why.
///
/// # Panics
///
/// If it cannot be had and `ZC_NO_SKIP` is set.
#[track_caller]
pub fn or_skip<T>(wanted: Result<T, String>) -> Option<T> {
    match wanted {
        Ok(there) => Some(there),
        Err(why) => {
            skip(&why);
            None
        }
    }
}

/// Says that the test is skipped, and why.
///
/// # Panics
///
/// If `ZC_NO_SKIP` is set.
#[track_caller]
pub fn skip(why: &str) {
    assert!(env::var_os("ZC_NO_SKIP").is_none(), "ZC_NO_SKIP is set, but: {why}");
    leave_out(why);
}

/// Says that a part is left out, and why. No machine could have what it needs, so it is no failure with `ZC_NO_SKIP`
/// either.
pub fn leave_out(why: &str) {
    eprintln!("skipped: {why}");
    if let Some(path) = env::var_os("ZC_SKIPPED") {
        // In one write, since other processes append, too.
        let line = format!("{}\t{}\n", this_test(), why.replace(['\n', '\t'], " "));
        let file = File::options().append(true).create(true).open(PathBuf::from(path));
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("ZC_SKIPPED names a file");
    }
}

/// The program, without the hash that cargo gives its name, and the test, as libtest calls it.
fn this_test() -> String {
    let program = env::current_exe().unwrap_or_default();
    let program = program.file_name().unwrap_or_default().to_string_lossy();
    let program = program.rsplit_once('-').map_or(&*program, |(name, _)| name);
    // In a process of its own a test runs on the main thread, whose name does not tell.
    let selected = env::args().skip_while(|argument| argument != "--exact").nth(1);
    let thread = || thread::current().name().unwrap_or("a thread").to_owned();
    format!("{program} {}", selected.unwrap_or_else(thread))
}
