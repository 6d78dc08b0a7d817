//! `zc`, run as its users run it.

/// `zc recv` and `zc send` with the programs that people use: curl, nc, socat, and each other.
mod clients;
/// A complete copy is put in place whatever the directory and the file system refuse, as by cp.
mod commit;
/// Descriptors that `zc` inherits: by all their names, open or closed.
mod descriptors;
/// What is on the disk when `zc` is done, and what is left after a power cut.
mod durable;
/// How `zc` fails: with one line, a status other than 0, and no half-written file.
mod failures;
/// What `zc cp` and `zc recv` make of the files they are given.
mod files;
/// What `zc` says: `--json`, `--explain`, help, wrong command lines, and the demo.
mod output;
/// Peers that answer, that stop reading, and that vanish.
mod peers;
/// A file that takes another's place gives no user access that the old one did not give.
mod permissions;
/// `zc` among other programs: many uploads, pipelines, a terminal, shells, and the manual.
mod reach;
/// `--resume`: a file that is half there becomes whole, and no byte of it moves twice.
mod resume;
/// Holes stay holes, on every file system that has them, and the bytes stay the same.
mod sparse;
/// Standard streams that are closed, full, moved, or cannot be written.
mod stdio;
