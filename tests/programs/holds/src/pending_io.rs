// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sockets, files and pipes with data in their buffers. The socket's other end stays with main.

use crate::counted::keep_for_ever;
use crate::Places;
use futures::{SinkExt, StreamExt};
use ledger::{arrived, rest, Cases};
use std::io::Write;
use std::net::{TcpListener, TcpStream as StdTcpStream};
use std::os::unix::net::UnixStream as StdUnixStream;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::codec::{Framed, LengthDelimitedCodec, LinesCodec};

/// A connected socket for a task; its other end has written `text` to it.
fn connected(text: &[u8]) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut mine = StdTcpStream::connect(listener.local_addr().expect("bound")).expect("listens");
    mine.write_all(text).expect("room");
    let (other, _) = listener.accept().expect("a connection");
    other.set_nonblocking(true).expect("a socket");
    keep_for_ever(mine);
    TcpStream::from_std(other).expect("inside a runtime")
}

fn paired(text: &[u8]) -> UnixStream {
    let (mut mine, other) = StdUnixStream::pair().expect("sockets");
    mine.write_all(text).expect("room");
    other.set_nonblocking(true).expect("a socket");
    keep_for_ever(mine);
    UnixStream::from_std(other).expect("inside a runtime")
}

async fn tcp_reads() {
    let mut stream = connected(b"");
    let mut received = vec![0u8; 5000];
    arrived();
    let _ = stream.read(&mut received).await;
}

async fn tcp_buffered() {
    let mut stream = BufReader::new(connected(b"a line\nand a part of one"));
    let mut line = String::new();
    let _ = stream.read_line(&mut line).await;
    let mut next = String::with_capacity(300);
    arrived();
    let _ = stream.read_line(&mut next).await;
}

async fn tcp_writes() {
    let mut stream = BufWriter::with_capacity(3000, connected(b""));
    stream.write_all(&[1; 2000]).await.expect("the buffer has room");
    rest().await;
    drop(stream);
}

async fn tcp_lines() {
    let mut lines = BufReader::new(connected(b"one\ntwo\nthree and no end")).lines();
    let mut seen = Vec::new();
    arrived();
    while let Ok(Some(line)) = lines.next_line().await {
        seen.push(line);
    }
}

async fn tcp_framed() {
    let mut framed = Framed::new(connected(b"one\ntwo\nthree and no end"), LinesCodec::new());
    framed.feed("to be sent").await.expect("room");
    arrived();
    while let Some(Ok(line)) = framed.next().await {
        drop(line);
    }
}

async fn unix_framed() {
    let codec = LengthDelimitedCodec::new();
    let mut framed = Framed::new(paired(&[0, 1, 0, 0, 5, 6, 7]), codec);
    arrived();
    assert!(framed.next().await.is_some());
}

async fn unix_in_two() {
    let (reader, writer) = paired(b"something").into_split();
    let mut reader = BufReader::with_capacity(777, reader);
    let _ = reader.fill_buf().await;
    rest().await;
    drop((reader, writer));
}

async fn split_by_tokio() {
    let (reader, writer) = tokio::io::split(paired(b""));
    rest().await;
    drop((reader, writer));
}

async fn duplex() {
    let (mut left, right) = tokio::io::duplex(4000);
    left.write_all(&[1; 2500]).await.expect("room");
    rest().await;
    drop((left, right));
}

async fn copies() {
    let (mut left, mut right) = (paired(b"to the right"), paired(b""));
    arrived();
    let _ = tokio::io::copy_bidirectional(&mut left, &mut right).await;
}

async fn file() {
    let file = std::fs::File::open("/proc/self/exe").expect("a file");
    let mut file = tokio::fs::File::from_std(file);
    let mut start = [0u8; 100];
    file.read_exact(&mut start).await.expect("a long file");
    rest().await;
    drop(file);
}

async fn reader_stream() {
    let mut stream = tokio_util::io::ReaderStream::with_capacity(paired(b"a piece"), 1500);
    let piece = stream.next().await;
    rest().await;
    drop((stream, piece));
}

/// The driver is not to free what it knew of the last socket while the next case is weighed.
fn one<F>(cases: &mut Cases, places: &Places, name: &str, future: F)
where
    F: std::future::Future<Output = ()> + Send + 'static,
{
    cases.group(name, |case| {
        case.start(|| places.quiet.spawn(Box::pin(future) as crate::Boxed));
        case.ends_inside();
    });
}

pub fn start(cases: &mut Cases, places: &Places) {
    one(cases, places, "tcp_reads", tcp_reads());
    one(cases, places, "tcp_buffered", tcp_buffered());
    one(cases, places, "tcp_writes", tcp_writes());
    one(cases, places, "tcp_lines", tcp_lines());
    one(cases, places, "tcp_framed", tcp_framed());
    one(cases, places, "unix_framed", unix_framed());
    one(cases, places, "unix_in_two", unix_in_two());
    one(cases, places, "split_by_tokio", split_by_tokio());
    one(cases, places, "copies", copies());
    one(cases, places, "duplex", duplex());
    one(cases, places, "file", file());
    one(cases, places, "reader_stream", reader_stream());
}
