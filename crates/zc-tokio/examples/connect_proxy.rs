//! An HTTP proxy for CONNECT: hyper reads the request, the kernel moves what follows.
//!
//! ```sh
//! cargo run -p zc-tokio --example connect_proxy -- 127.0.0.1:8080
//! curl --proxy http://127.0.0.1:8080 https://example.org/
//! ```

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use zc_tokio::{Options, Relay, Rewind};

#[tokio::main]
async fn main() -> io::Result<()> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    serve(TcpListener::bind(listen).await?).await
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (client, peer) = listener.accept().await?;
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(client), service_fn(answer))
                .with_upgrades();
            if let Err(error) = connection.await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let target = match (request.method(), request.uri().authority()) {
        (&Method::CONNECT, Some(authority)) => authority.to_string(),
        _ => return Ok(refusal(StatusCode::METHOD_NOT_ALLOWED, "only CONNECT")),
    };
    match TcpStream::connect(&target).await {
        Ok(server) => {
            tokio::spawn(async move {
                match tunnel(request, server).await {
                    Ok((up, down)) => println!("{target}: {up} bytes up, {down} down"),
                    Err(error) => eprintln!("{target}: {error}"),
                }
            });
            Ok(Response::new(String::new()))
        }
        Err(error) => Ok(refusal(StatusCode::BAD_GATEWAY, &error.to_string())),
    }
}

fn refusal(status: StatusCode, why: &str) -> Response<String> {
    let mut response = Response::new(format!("{why}\n"));
    *response.status_mut() = status;
    response
}

/// hyper gives back its connection, and what it has read beyond the request.
async fn tunnel(request: Request<Incoming>, mut server: TcpStream) -> io::Result<(u64, u64)> {
    let upgraded: Upgraded = hyper::upgrade::on(request).await.map_err(io::Error::other)?;
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        return Err(io::Error::other("not the connection that was served"));
    };
    let mut client = Rewind::new(parts.read_buf, parts.io.into_inner());
    let mut options = Options::default();
    options.idle_timeout = Some(Duration::from_secs(300));
    Ok(Relay::with_options(options).run(&mut client, &mut server).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn connects_and_passes_on_what_was_sent_early() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = server.local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener));

        let mut client = TcpStream::connect(address).await.unwrap();
        // The client does not wait for the answer; hyper reads some of it with the request.
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nearly, ");
        client.write_all(request.as_bytes()).await.unwrap();
        let (mut connection, _) = server.accept().await.unwrap();
        let mut head = vec![0; b"HTTP/1.1 200 OK\r\n".len()];
        client.read_exact(&mut head).await.unwrap();
        assert_eq!(head, b"HTTP/1.1 200 OK\r\n");
        client.write_all(b"late").await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = String::new();
        connection.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "early, late");
        connection.write_all(b"the answer").await.unwrap();
        drop(connection);
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        assert!(rest.ends_with("\r\n\r\nthe answer"), "{rest}");
        serving.abort();
    }
}
