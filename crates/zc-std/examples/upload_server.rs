//! A server that stores uploads: a thread and a file per connection, the bytes moved by the kernel.
//!
//! `cargo run --release -p zc-std --example upload_server`

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use zc_std::ReadFrom;

/// What a client may send.
const LIMIT: u64 = 16 << 20;

/// What the clients of this example do send; the last one, too much.
const UPLOADS: [usize; 4] = [0, 1000, 8 << 20, 20 << 20];

/// Stores one upload under a name of its own, cut off at the limit.
fn receive(stream: &TcpStream, path: &Path) -> io::Result<u64> {
    let n = File::create_new(path)?.read_from(stream.take(LIMIT))?;
    println!("{}: {n} bytes", path.display());
    Ok(n)
}

/// Serves so many connections, each on its thread.
fn serve(listener: &TcpListener, connections: usize, dir: &Path) -> io::Result<()> {
    thread::scope(|scope| {
        for number in 0..connections {
            let (stream, _) = listener.accept()?;
            let path = dir.join(format!("upload-{number}"));
            scope.spawn(move || {
                if let Err(error) = receive(&stream, &path) {
                    eprintln!("{}: {error}", path.display());
                }
            });
        }
        Ok(())
    })
}

fn upload(address: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    TcpStream::connect(address)?.write_all(bytes)
}

fn main() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;

    let clients = thread::spawn(move || {
        for (number, size) in UPLOADS.into_iter().enumerate() {
            let sent = upload(address, &vec![number as u8; size]);
            // A server that has had enough hangs up on whoever goes on.
            assert!(sent.is_ok() || size as u64 > LIMIT, "{sent:?}");
        }
    });
    serve(&listener, UPLOADS.len(), dir.path())?;
    clients.join().expect("clients do not panic");

    for (number, size) in UPLOADS.into_iter().enumerate() {
        let stored = fs::read(dir.path().join(format!("upload-{number}")))?;
        assert_eq!(stored.len() as u64, LIMIT.min(size as u64));
        assert!(stored.iter().all(|&byte| byte == number as u8));
    }
    Ok(())
}
