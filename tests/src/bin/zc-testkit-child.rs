//! A process of its own, for tests of the standard streams: std's buffers for these belong to the process, and so
//! does the test harness's output.
//!
//! It writes what it copied, and how, into the file named by its second argument.

use std::fs::{self, File};
use std::io::{self, BufRead, Write};

use zc_std::{Copier, Fd, Mechanism, ReadFrom, Report};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, what, notes, rest @ ..] = &args[..] else { panic!("WHAT NOTES [FILE]") };
    let mut copier = Copier::new().adaptive(false);
    let report = match (&what[..], rest) {
        // A line is read first, so that std has read ahead.
        ("stdin", [file]) => {
            io::stdin().lock().read_line(&mut String::new())?;
            copier.copy(&mut io::stdin(), &mut File::create(file)?)?
        }
        ("stdin-lock", [file]) => {
            let mut stdin = io::stdin().lock();
            stdin.read_line(&mut String::new())?;
            copier.copy(&mut stdin, &mut File::create(file)?)?
        }
        // Nothing was read, so std's buffer is empty and may be bypassed.
        ("raw-stdin", [file]) => {
            copier.copy(&mut Fd::new(io::stdin().lock())?, &mut File::create(file)?)?
        }
        ("stdout", []) => {
            print!("held back, ");
            let report = copier.copy(&mut Fd::new(io::stdin())?, &mut io::stdout())?;
            print!(", and after");
            report
        }
        ("stdout-lock", []) => {
            let mut stdout = io::stdout().lock();
            write!(stdout, "held back, ")?;
            let report = copier.copy(&mut Fd::new(io::stdin())?, &mut stdout)?;
            write!(stdout, ", and after")?;
            report
        }
        ("stderr", []) => {
            eprint!("before, ");
            let report = copier.copy(&mut Fd::new(io::stdin())?, &mut io::stderr().lock())?;
            eprint!(", and after");
            report
        }
        ("read-from", []) => {
            let (stdin, mut stdout, mut stderr) = (io::stdin(), io::stdout(), io::stderr());
            stdout.read_from(&b"out"[..])?;
            stderr.read_from(&b"err"[..])?;
            (&stdout).read_from(stdin.lock())?;
            (&stderr).read_from(io::empty())?;
            stderr.lock().read_from(io::empty())?;
            Report::default()
        }
        other => panic!("unknown: {other:?}"),
    };
    let count = |mechanism| report.moved_by(mechanism);
    let (spliced, copied) = (count(Mechanism::Splice), count(Mechanism::ReadWrite));
    fs::write(notes, format!("splice {spliced}, read/write {copied}"))?;
    Ok(())
}
