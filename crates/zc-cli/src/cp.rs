//! `zc cp`: a file into a file.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::args::Cp;
use crate::copier::copier;
use crate::done::Done;
use crate::end::End;
use crate::error::Failure;
use crate::sink::Sink;
use crate::target::DEFAULT_MODE;
use crate::transfer;

pub(crate) fn run(args: &Cp) -> Result<Done, Failure> {
    let mut source = source(&args.from)?;
    let to = destination(&args.from, &args.to);
    let mut sink = Sink::open(&args.to, &to, mode(&args.from))?;
    if same_file(&args.from, &to) {
        let what = format!("cannot copy {} to {}", source.about.name, sink.end.about.name);
        return Err(Failure::new(what, "they are the same file"));
    }
    let done = transfer::run(&mut copier(), &mut source, &mut sink.end, &args.bounds)?;
    sink.commit(done)
}

/// Opens a file to read, or standard input.
pub(crate) fn source(name: &OsStr) -> Result<End, Failure> {
    let open = || {
        if name == "-" {
            return End::standard(io::stdin());
        }
        let file = File::open(name)?;
        if file.metadata()?.is_dir() {
            return Err(Errno::ISDIR.into());
        }
        End::new(file, name.to_string_lossy())
    };
    open().map_err(|error| Failure::io(format!("cannot read {}", name.display()), &error))
}

/// `to`, or the file of the same name in it if it is a directory.
fn destination(from: &OsStr, to: &OsStr) -> PathBuf {
    let to = Path::new(to);
    match Path::new(from).file_name() {
        Some(name) if from != "-" && to.is_dir() => to.join(name),
        _ => to.into(),
    }
}

/// The permissions a copy gets, less the umask: those of the file, as cp(1) does.
fn mode(from: &OsStr) -> u32 {
    match fs::metadata(from) {
        Ok(meta) if from != "-" && meta.is_file() => meta.mode() & 0o777,
        _ => DEFAULT_MODE,
    }
}

fn same_file(from: &OsStr, to: &Path) -> bool {
    let identity =
        |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino(), meta.is_file()));
    match (identity(Path::new(from)), identity(to)) {
        (Some(from), Some(to)) => from == to && from.2,
        _ => false,
    }
}
