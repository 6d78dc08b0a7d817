//! One upload: made, measured, and compared with what was sent.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use zc_linux::fd::wait_readable;
use zc_std::{CopyError, Source};

use super::cell::{Method, Transport};
use super::figures::Run;
use super::go::Go;
use super::pattern::Pattern;
use super::sender::{Stream, Upload};
use crate::copier::copier;
use crate::error::Failure;

/// Uploads with `method`, against the clock.
pub(crate) fn timed(
    transport: Transport,
    (method, go): (Method, Option<&Go>),
    file: &File,
    size: u64,
    seed: u64,
) -> Result<Run, Failure> {
    upload(transport, method, file, size, seed, |stream| match (stream, go) {
        (stream, Some(go)) if method == Method::Go => {
            go.copy(stream.as_fd().try_clone_to_owned()?, file)
        }
        (Stream::Tcp(stream), _) => measure(method, stream, file),
        (Stream::Unix(stream), _) => measure(method, stream, file),
    })
}

/// Uploads with `std::io::copy`, and returns how many system calls that makes.
///
/// Counting wrappers hide the descriptors, and so would change what std does where it has a special
/// path for them. From a socket to a file it has none. There it reads and writes 8 KiB at a time,
/// wrapped or not, and each `read` and `write` seen here is one system call. The wrappers are not
/// in place while the clock runs.
pub(crate) fn counted(
    transport: Transport,
    file: &File,
    size: u64,
    seed: u64,
) -> Result<u64, Failure> {
    upload(transport, Method::Std, file, size, seed, |stream| match stream {
        Stream::Tcp(stream) => count(stream, file),
        Stream::Unix(stream) => count(stream, file),
    })
}

fn upload<T>(
    transport: Transport,
    method: Method,
    mut file: &File,
    size: u64,
    seed: u64,
    copy: impl FnOnce(&mut Stream) -> io::Result<T>,
) -> Result<T, Failure> {
    let what = format!("cannot upload over {transport} with {method}");
    let made = || {
        file.rewind()?;
        let mut upload = Upload::start(transport, size, seed)?;
        let copied = copy(&mut upload.stream)?;
        Ok((copied, Pattern::new(seed).mismatch(file, size)?))
    };
    match made() {
        Ok((copied, None)) => Ok(copied),
        Ok((_, Some(at))) => {
            let why = format!("the bytes from {at} on are not those that were sent");
            Err(Failure::new(what, why).after(at))
        }
        Err(error) => {
            let failure = match CopyError::from_io(&error) {
                Some(error) => Failure::copy(what, error, error.residue().len()),
                None => Failure::io(what, &error),
            };
            // All methods write from the start of the file on.
            Err(failure.after(file.stream_position().unwrap_or(0)))
        }
    }
}

/// Copies all of `stream` into `file`, against the clock.
fn measure<S>(method: Method, mut stream: S, mut file: &File) -> io::Result<Run>
where
    S: Read + Source + AsFd,
{
    // The clock starts once the first bytes are here.
    wait_readable(stream.as_fd(), None)?;
    let (cpu, started) = (thread_cpu(), Instant::now());
    let calls = match method {
        Method::Std => io::copy(&mut stream, &mut file).map(|_| None)?,
        Method::Go => unreachable!("it copies by itself"),
        Method::Loop => Some(read_and_write(&mut stream, &mut file)?),
        Method::Zc => Some(copier().copy(&mut stream, &mut file)?.calls()),
    };
    let (seconds, cpu_seconds) =
        (started.elapsed().as_secs_f64(), (thread_cpu() - cpu).as_secs_f64());
    Ok(Run { method, seconds, cpu_seconds, calls })
}

/// Reads 64 KiB at a time and writes them, and says how many calls that took.
fn read_and_write(from: &mut impl Read, to: &mut impl Write) -> io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut calls = 0;
    loop {
        calls += 1;
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(calls),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut written = 0;
        while written < n {
            calls += 1;
            match to.write(&buffer[written..n]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The CPU time of the copying thread, in user space and in the kernel.
fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

fn count(stream: impl Read, file: impl Write) -> io::Result<u64> {
    let mut reads = Counting { inner: stream, calls: 0 };
    let mut writes = Counting { inner: file, calls: 0 };
    io::copy(&mut reads, &mut writes)?;
    Ok(reads.calls + writes.calls)
}

/// Counts calls.
struct Counting<T> {
    inner: T,
    calls: u64,
}

impl<T: Read> Read for Counting<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        self.inner.read(buf)
    }
}

impl<T: Write> Write for Counting<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        self.inner.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
