//! `zc recv --keep-open`: connection after connection, each into a file of its own.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use crate::args::Recv;
use crate::done::Done;
use crate::end::End;
use crate::error::Failure;
use crate::say::Seldom;
use crate::sink::Sink;
use crate::target::{DEFAULT_MODE, Disposition, Manner};
use crate::{output, recv};

/// How many connections are served at a time.
const MAX: usize = 64;

/// Serves until it is killed.
pub(crate) fn run(args: &Recv) -> Result<(), Failure> {
    let dir = Path::new(&args.file);
    let cannot = |error| Failure::io(format!("cannot write to {}", dir.display()), &error);
    let next = last(dir).map_err(cannot)?.checked_add(1);
    let next = next.ok_or_else(|| cannot(Errno::OVERFLOW.into()))?;
    let numbers = AtomicU64::new(next);
    // No client should send what cannot be kept.
    drop(open(args, numbers.load(Relaxed))?);
    let listener = recv::listen(args)?;
    let (places, mut refused) = (Places::default(), Seldom::default());
    thread::scope(|scope| {
        loop {
            let place = places.take();
            let mut stream = match recv::accept(&listener, args) {
                Ok(stream) => stream,
                Err(failure) => {
                    if refused.is_said() {
                        output::each(&args.output, &Err(failure));
                    }
                    // Too many open files, perhaps: it passes.
                    thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            let numbers = &numbers;
            let serve = move || {
                let _place = place;
                // Said before the sender hears of it.
                output::each(&args.output, &serve(args, &mut stream, numbers));
            };
            if let Err(error) = thread::Builder::new().spawn_scoped(scope, serve) {
                output::each(&args.output, &Err(Failure::io("cannot serve a connection", &error)));
            }
        }
    })
}

/// Writes down what one connection brings.
fn serve(args: &Recv, source: &mut End, numbers: &AtomicU64) -> Result<Done, Failure> {
    loop {
        match open(args, numbers.fetch_add(1, Relaxed)) {
            // Another process writes there, too.
            Err(failure) if failure.errno == Some(Errno::EXIST.raw_os_error()) => {}
            Ok(sink) => return recv::receive(args, source, sink),
            Err(failure) => return Err(failure),
        }
    }
}

/// The file of that number. Dropped, it is gone.
fn open(args: &Recv, number: u64) -> Result<Sink, Failure> {
    let manner = Manner { disposition: Disposition::New, ..args.writing.manner(DEFAULT_MODE) };
    let path = Path::new(&args.file).join(name(number));
    Sink::open(path.as_os_str(), &path, manner)
}

fn name(number: u64) -> String {
    format!("{number:06}")
}

/// The highest number that a file in `dir` is called by.
fn last(dir: &Path) -> std::io::Result<u64> {
    let mut last = 0;
    for entry in fs::read_dir(dir)? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

/// How many connections are being served.
#[derive(Debug, Default)]
struct Places {
    taken: Mutex<usize>,
    left: Condvar,
}

/// The place of one connection. Dropped, it is free.
#[derive(Debug)]
struct Place<'a>(&'a Places);

impl Places {
    /// Waits until there is one.
    fn take(&self) -> Place<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |taken: &mut usize| *taken >= MAX;
        let mut taken = self.left.wait_while(taken, full).unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.left.notify_one();
    }
}
