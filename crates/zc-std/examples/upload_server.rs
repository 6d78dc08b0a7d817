//! A server that stores uploads: a thread and a file per connection, the bytes moved by the kernel.
//!
//! A client says first how many bytes are to come. One that dies ends its connection just as one that has
//! finished, and half an upload must not be taken for a whole one.
//!
//! `cargo run --release -p zc-std --example upload_server`

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use zc_std::copy_exact;

/// What a client may send.
const LIMIT: u64 = 16 << 20;

/// What the clients of this example announce, and what they send. The last one is cut off.
const UPLOADS: [(usize, usize); 4] = [(0, 0), (1000, 1000), (8 << 20, 8 << 20), (4000, 3999)];

/// Stores one upload under a name of its own, whole or not at all.
fn receive(mut stream: &TcpStream, path: &Path) -> io::Result<u64> {
    let mut size = [0; 8];
    stream.read_exact(&mut size)?;
    let size = u64::from_be_bytes(size);
    if size > LIMIT {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut file = File::create_new(path)?;
    copy_exact(&mut stream, &mut file, size).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })?;
    println!("{}: {size} bytes", path.display());
    Ok(size)
}

/// Serves this many connections, each on its thread.
fn serve(listener: &TcpListener, connections: usize, dir: &Path) -> io::Result<()> {
    thread::scope(|scope| {
        for number in 0..connections {
            let (stream, _) = listener.accept()?;
            let path = dir.join(format!("upload-{number}"));
            scope.spawn(move || {
                if let Err(error) = receive(&stream, &path) {
                    println!("{}: {error}", path.display());
                }
            });
        }
        Ok(())
    })
}

fn upload(address: SocketAddr, announced: usize, bytes: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&(announced as u64).to_be_bytes())?;
    stream.write_all(bytes)
}

fn main() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;

    let clients = thread::spawn(move || {
        for (number, (announced, sent)) in UPLOADS.into_iter().enumerate() {
            upload(address, announced, &vec![number as u8; sent]).expect("the server takes it");
        }
    });
    serve(&listener, UPLOADS.len(), dir.path())?;
    clients.join().expect("clients do not panic");

    for (number, (announced, sent)) in UPLOADS.into_iter().enumerate() {
        let stored = fs::read(dir.path().join(format!("upload-{number}")));
        if sent < announced {
            assert_eq!(stored.unwrap_err().kind(), ErrorKind::NotFound);
        } else {
            assert_eq!(stored?, vec![number as u8; sent]);
        }
    }
    Ok(())
}
