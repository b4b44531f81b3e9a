// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real program 1: the mini-redis server, its library unchanged. Listens on 127.0.0.1, port from the
//! first argument (0, the default, takes any), prints the address, ends on SIGTERM or ctrl-c.

use tokio::net::TcpListener;
use tokio::signal::unix::{signal, SignalKind};

async fn told_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be watched");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[tokio::main]
async fn main() -> mini_redis::Result<()> {
    let port: u16 = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 0,
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    mini_redis::server::run(listener, told_to_stop()).await
}
