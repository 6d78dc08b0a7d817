//! `zc`, run as its users run it.

/// `zc recv` and `zc send` with the programs that people have: curl, nc, socat, and each other.
mod clients;
/// A complete copy is put in place whatever the directory and the file system refuse, as cp does it.
mod commit;
/// Descriptors that `zc` was started with: by all their names, open or closed.
mod descriptors;
/// What is on the disk when `zc` is done, and what is left after a power cut.
mod durable;
/// What `zc` does when it can't: one line, a status other than 0, and nothing half-written.
mod failures;
/// What `zc cp` and `zc recv` make of the files they are given.
mod files;
/// What `zc` says: `--json`, `--explain`, help, wrong command lines, and the demo.
mod output;
/// Peers that answer, that stop reading, and that vanish.
mod peers;
/// A file that takes the place of another gives no user access that the old one did not give.
mod permissions;
/// `zc` among other programs: many uploads, pipelines, a terminal, shells, and the manual.
mod reach;
/// `--resume`: a file that is half there becomes whole, and nothing of it moves twice.
mod resume;
/// Holes stay holes, wherever they are, and the bytes stay the same.
mod sparse;
/// What `zc` does with its standard streams, whatever they are.
mod stdio;
