// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small chat server, written as one would write it. With clients of its own it is the subject of `make demo`.
//!
//!     chat-server [VISITORS]
//!
//! Listens on a port of 127.0.0.1 that it prints. A client sends its name and then lines; each line goes to
//! all members of the room. With VISITORS so many clients come, say something, and leave again, eight at a time;
//! then the server ends.
//!
//! One thing is wrong on purpose: see `leave`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader as StdReader, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const QUEUED_LINES: usize = 32;
const VISITORS_AT_ONCE: usize = 8;
const RECENT_LINES: usize = 64;

type Mailbox = mpsc::Sender<Arc<str>>;

#[derive(Default)]
struct Room {
    members: Mutex<HashMap<u64, Mailbox>>,
    recent: Mutex<Vec<Arc<str>>>,
}

impl Room {
    /// A member that reads too slowly misses lines.
    fn say(&self, line: Arc<str>) {
        let mut recent = self.recent.lock().unwrap();
        if recent.len() == RECENT_LINES {
            recent.remove(0);
        }
        recent.push(line.clone());
        for mailbox in self.members.lock().unwrap().values() {
            let _ = mailbox.try_send(line.clone());
        }
    }

    fn join(&self, id: u64, mailbox: Mailbox) {
        self.members.lock().unwrap().insert(id, mailbox);
    }

    /// The leak: the member's mailbox stays in the map, so that its `deliver` waits for lines for ever.
    fn leave(&self, name: &str) {
        self.say(format!("{name} left").into());
    }
}

/// Writes what the room says to one client; when that has gone, lets the rest of its mail go by.
async fn deliver(mut inbox: mpsc::Receiver<Arc<str>>, out: OwnedWriteHalf) {
    let mut client = Some(out);
    let mut packet = Vec::with_capacity(4096);
    while let Some(line) = inbox.recv().await {
        let Some(out) = &mut client else { continue };
        packet.clear();
        packet.extend_from_slice(line.as_bytes());
        packet.push(b'\n');
        if out.write_all(&packet).await.is_err() {
            client = None;
        }
    }
}

async fn listen(room: &Room, name: &str, mut lines: Lines<BufReader<OwnedReadHalf>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        room.say(format!("{name}: {line}").into());
    }
}

async fn serve_client(room: Arc<Room>, id: u64, stream: TcpStream) {
    let (input, out) = stream.into_split();
    let mut lines = BufReader::new(input).lines();
    let Ok(Some(name)) = lines.next_line().await else { return };
    let (mailbox, inbox) = mpsc::channel(QUEUED_LINES);
    tokio::spawn(deliver(inbox, out));
    room.join(id, mailbox);
    listen(&room, &name, lines).await;
    room.leave(&name);
}

async fn accept_clients(room: Arc<Room>, listener: TcpListener) -> std::io::Result<()> {
    for id in 1.. {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve_client(room.clone(), id, stream));
    }
    Ok(())
}

/// One client, on a thread of its own: says three lines and leaves when it has heard as many.
fn visit(port: u16, number: usize) -> std::io::Result<()> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "visitor {number}\nhello\nnice room\ngoodbye\n")?;
    StdReader::new(stream).lines().take(3).try_for_each(|line| line.map(drop))
}

fn visits(port: u16, visitors: usize) {
    let threads: Vec<_> = (0..VISITORS_AT_ONCE)
        .map(|first| {
            std::thread::spawn(move || {
                for number in (first..visitors).step_by(VISITORS_AT_ONCE) {
                    visit(port, number).expect("the server answers");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a visitor that panicked");
    }
}

async fn run(room: Arc<Room>, visitors: Option<usize>) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    println!("listening on 127.0.0.1:{port}");
    let server = accept_clients(room, listener);
    let Some(visitors) = visitors else { return server.await };
    let done = tokio::task::spawn_blocking(move || visits(port, visitors));
    tokio::select! {
        failed = server => failed,
        _ = async { done.await.expect("visits"); tokio::time::sleep(Duration::from_millis(50)).await } => Ok(()),
    }
}

fn main() -> std::io::Result<()> {
    let visitors: Option<usize> =
        std::env::args().nth(1).map(|text| text.parse().expect("a number"));
    let room = Arc::new(Room::default()); // dropped after the runtime
    let runtime = Runtime::new()?;
    runtime.block_on(run(room.clone(), visitors))
}
