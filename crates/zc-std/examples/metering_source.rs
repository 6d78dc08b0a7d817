//! A source of your own that counts what passes, and leaves the work to the kernel.
//!
//! `cargo run -p zc-std --example metering_source`

use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use zc_std::{Copier, Mechanism, Source, Upstream};

/// Counts the bytes that are read through it or taken past it.
struct Metered<S> {
    inner: S,
    bytes: u64,
}

impl<S: Read> Read for Metered<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.bytes += n as u64;
        Ok(n)
    }
}

impl<S: Source> Source for Metered<S> {
    // Bytes pass unchanged: the descriptor, buffers and limits below are used as they are.
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::through(&mut self.inner)
    }

    fn taken(&mut self, n: u64) {
        self.bytes += n;
    }
}

const SIZE: usize = 64 << 20;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let client = thread::spawn(move || -> io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"PUT /upload\n")?;
        stream.write_all(&vec![7; SIZE])
    });

    // A request line, which takes a buffer, and a body, which does not.
    let (stream, _) = listener.accept()?;
    let mut source = BufReader::new(Metered { inner: stream, bytes: 0 });
    let mut request = String::new();
    source.read_line(&mut request)?;

    let mut file = tempfile::tempfile()?;
    // The client is known to send in bulk: no need to find out.
    let report = Copier::new().adaptive(false).copy(&mut source, &mut file)?;
    client.join().expect("the client does not panic")?;

    println!("{}: {} bytes in {} system calls", request.trim(), report.moved(), report.calls());
    for mechanism in Mechanism::ALL {
        if report.tried(mechanism) {
            println!("  {mechanism}: {} bytes", report.moved_by(mechanism));
        }
    }
    assert_eq!(report.moved(), SIZE as u64);
    assert_eq!(source.get_ref().bytes, (request.len() + SIZE) as u64);
    assert_eq!(report.mechanism(), Some(Mechanism::Splice));
    assert_eq!(file.stream_position()?, SIZE as u64);
    Ok(())
}
