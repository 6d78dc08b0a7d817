//! A server for uploads: what a connection sends becomes a file, up to a limit, and the answer says how long it
//! is.
//!
//! ```sh
//! cargo run -p zc-tokio --example upload --features fs -- 127.0.0.1:8080 /tmp/uploads
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zc_tokio::{Copier, Options};

const MOST: u64 = 1 << 40;

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(directory)) = (args.next(), args.next()) else {
        return Err(io::Error::other("usage: upload LISTEN DIRECTORY"));
    };
    serve(TcpListener::bind(listen).await?, directory.into()).await
}

async fn serve(listener: TcpListener, directory: PathBuf) -> io::Result<()> {
    let (directory, number) = (Arc::new(directory), AtomicU64::new(0));
    loop {
        let (client, peer) = listener.accept().await?;
        let path = directory.join(format!("upload-{}", number.fetch_add(1, Ordering::Relaxed)));
        tokio::spawn(async move {
            if let Err(error) = store(client, &path).await {
                eprintln!("{peer}: {error}");
                // Half an upload is of no use.
                let _ = tokio::fs::remove_file(&path).await;
            }
        });
    }
}

/// The socket's half of each step runs here, the file's on a thread that may wait for the disk.
async fn store(mut client: TcpStream, path: &Path) -> io::Result<()> {
    let mut file = File::create_new(path).await?;
    let mut options = Options::default();
    options.idle_timeout = Some(Duration::from_secs(60));
    let mut copier = Copier::with_options(options);
    let bytes = copier.run(&mut (&mut client).take(MOST), &mut file).await?;
    file.sync_all().await?;
    client.write_all(format!("{bytes}\n").as_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_upload_becomes_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, directory.path().into()));
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 251) as u8).collect();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "3000000\n");
        assert!(std::fs::read(directory.path().join("upload-0")).unwrap() == sent);
        serving.abort();
    }
}
