//! `zc cp`: a file into a file.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::args::Cp;
use crate::copier::copier;
use crate::done::Done;
use crate::end::{End, Use};
use crate::error::Failure;
use crate::sink::Sink;
use crate::target::DEFAULT_MODE;
use crate::transfer::{self, Plan};
use crate::{descriptor, resume};

pub(crate) fn run(args: &Cp) -> Result<Done, Failure> {
    let mut source = source(&args.from)?;
    let to = destination(&args.from, &args.to);
    let manner = args.writing.manner(mode(&args.from));
    let mut sink = Sink::open(&args.to, &to, manner)?;
    if source.identity.is_some() && source.identity == sink.identity {
        let what = format!("cannot copy {} to {}", source.about.name, sink.end.about.name);
        return Err(Failure::new(what, "they are the same file"));
    }
    resume::skip(&mut source, sink.offset)?;
    sink.begin()?;
    let plan = Plan { bounds: args.bounds, resumed: sink.offset, visible: args.output.visible() };
    let done = transfer::run(&mut copier(), &mut source, &mut sink.end, &plan)?;
    match sink.commit() {
        Ok(()) => Ok(done),
        Err(failure) => Err(failure.with(done)),
    }
}

/// Opens a file to read, or the descriptor that the user meant.
pub(crate) fn source(name: &OsStr) -> Result<End, Failure> {
    let open = || {
        let number = if name == "-" { Some(0) } else { descriptor::meant(name) };
        let end = match number {
            Some(number) => End::inherited(number, name, Use::Read)?,
            None => End::new(File::open(name)?, name.to_string_lossy())?,
        };
        match FileType::from_raw_mode(rustix::fs::fstat(&end.fd)?.st_mode) {
            FileType::Directory => Err(Errno::ISDIR.into()),
            _ => Ok(end),
        }
    };
    open()
        .map_err(|error: io::Error| Failure::io(format!("cannot read {}", name.display()), &error))
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
