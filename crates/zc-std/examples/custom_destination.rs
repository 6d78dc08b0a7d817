//! A destination of your own: `read_from` for a type that owns a file, and does more than a file.
//!
//! `cargo run -p zc-std --example custom_destination`

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use zc_std::{CopyError, ReadFrom, Source};

/// An upload of a limited length.
struct Upload {
    file: File,
    received: u64,
    limit: u64,
}

impl ReadFrom for Upload {
    fn read_from<S: Read + Source>(&mut self, source: S) -> io::Result<u64> {
        let mut limited = source.take(self.limit - self.received);
        let received = self.file.read_from(&mut limited);
        // A failed copy has moved bytes as well.
        self.received += match &received {
            Ok(n) => *n,
            Err(error) => CopyError::from_io(error).map_or(0, CopyError::moved),
        };
        let received = received?;
        // At the limit: is that all?
        if limited.limit() == 0 && limited.get_mut().read(&mut [0])? > 0 {
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok(received)
    }
}

fn main() -> io::Result<()> {
    let mut upload = Upload { file: tempfile::tempfile()?, received: 0, limit: 100 };

    // From a socket: moved by the kernel, as into the file itself.
    let (mut client, stream) = UnixStream::pair()?;
    client.write_all(&[b'x'; 60])?;
    drop(client);
    assert_eq!(upload.read_from(stream)?, 60);

    // From memory.
    assert_eq!(upload.read_from(&b"forty more, which is just within limits."[..])?, 40);
    assert_eq!(upload.received, 100);

    let error = upload.read_from(&b"!"[..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    assert_eq!((upload.received, upload.file.metadata()?.len()), (100, 100));
    println!("received {} bytes, then refused: {error}", upload.limit);
    Ok(())
}
