// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real program 2: the bore tunnel server and client, their library unchanged.
//! `real-bore server` runs a server on bore's own control port; `real-bore client HOST PORT` offers the
//! local port at that server. Both end on SIGTERM or ctrl-c.

use anyhow::{bail, Context, Result};
use bore_cli::{client::Client, server::Server};
use tokio::signal::unix::{signal, SignalKind};

async fn told_to_stop() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        answer = tokio::signal::ctrl_c() => Ok(answer?),
    }
}

async fn serve() -> Result<()> {
    let mut server = Server::new(1024..=65535, None);
    server.set_bind_addr("127.0.0.1".parse()?);
    server.set_bind_tunnels("127.0.0.1".parse()?);
    server.listen().await
}

async fn offer(host: String, port: u16) -> Result<()> {
    let client = Client::new("127.0.0.1", port, &host, 0, None).await?;
    client.listen().await
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["server"] => tokio::select! {
            done = serve() => done,
            done = told_to_stop() => done,
        },
        ["client", host, port] => {
            let port = port.parse().context("PORT is a number up to 65535")?;
            tokio::select! {
                done = offer((*host).to_owned(), port) => done,
                done = told_to_stop() => done,
            }
        }
        _ => bail!("usage: real-bore server | real-bore client HOST PORT"),
    }
}
