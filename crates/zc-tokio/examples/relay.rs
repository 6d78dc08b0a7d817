//! A TCP relay that tells the server who the client is (PROXY protocol, version 1), prints what moves, and
//! shuts down gracefully.
//!
//! ```sh
//! cargo run -p zc-tokio --example relay -- 127.0.0.1:8080 127.0.0.1:80
//! ```

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use zc_tokio::{Options, Relay, Rewind};

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(target)) = (args.next(), args.next()) else {
        return Err(io::Error::other("usage: relay LISTEN TARGET"));
    };
    let listener = TcpListener::bind(listen).await?;
    serve(listener, target, async { drop(tokio::signal::ctrl_c().await) }).await
}

/// Relays every connection to `target` until `stop`. Open connections then have half a minute to end.
async fn serve(
    listener: TcpListener,
    target: String,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (mut stop, mut relays) = (std::pin::pin!(stop), JoinSet::new());
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => {
                let (client, peer) = accepted?;
                relays.spawn(relay(client, peer, target.clone()));
            }
            Some(_) = relays.join_next() => {}
        }
    }
    drop(listener);
    let drained = async { while relays.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(30), drained).await;
    Ok(())
}

async fn relay(client: TcpStream, peer: SocketAddr, target: String) {
    match relay_to(client, peer, &target).await {
        Ok((up, down)) => println!("{peer}: {up} bytes up, {down} down"),
        Err(error) => eprintln!("{peer}: {error}"),
    }
}

async fn relay_to(client: TcpStream, peer: SocketAddr, target: &str) -> io::Result<(u64, u64)> {
    let mut server = TcpStream::connect(target).await?;
    let local = client.local_addr()?;
    let family = if peer.is_ipv4() { "TCP4" } else { "TCP6" };
    let (ip, port, to_ip, to_port) = (peer.ip(), peer.port(), local.ip(), local.port());
    // The header goes first, and then what the client sends, as fast as without it.
    let header = format!("PROXY {family} {ip} {to_ip} {port} {to_port}\r\n");
    let mut client = Rewind::new(header, client);

    let mut options = Options::default();
    options.idle_timeout = Some(Duration::from_secs(300));
    let mut relay = Relay::with_options(options);
    let meter = relay.handle();
    let mut every = tokio::time::interval(Duration::from_secs(10));
    every.tick().await;
    loop {
        // The relay's future is dropped with every tick, and nothing is lost.
        tokio::select! {
            outcome = relay.run(&mut client, &mut server) => return Ok(outcome?),
            _ = every.tick() => println!("{peer}: {:?} bytes so far", meter.counts()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn relays_with_a_header_and_drains() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = server.local_addr().unwrap().to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let serving = tokio::spawn(serve(listener, target, async { drop(stopped.await) }));

        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut connection, _) = server.accept().await.unwrap();
        stop.send(()).unwrap(); // … while this one is still there
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = String::new();
        connection.read_to_string(&mut got).await.unwrap();
        let from = client.local_addr().unwrap().port();
        let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {}\r\n", address.port());
        assert_eq!(got, header + "hello");
        connection.write_all(b"answer").await.unwrap();
        drop(connection);
        let mut got = String::new();
        client.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "answer");
        serving.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "it accepts no more");
    }
}
