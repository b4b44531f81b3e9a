// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tasks that read and write bytes, over pipes inside the process.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter,
};
use tokio_util::codec::{Decoder, Encoder, Framed, LengthDelimitedCodec};

use crate::local::{message, Message};
use crate::Outcome;

async fn answer_lines<const N: usize, S>(stream: S) -> std::io::Result<usize>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, writer) = tokio::io::split(stream);
    let mut lines = BufReader::with_capacity(256, reader).lines();
    let mut writer = BufWriter::new(writer);
    let mut bytes = 0;
    while let Some(line) = lines.next_line().await? {
        let got: Message<N> = message(line.len());
        writer.write_all(got.text.as_bytes()).await?;
        writer.write_all(b"\n").await?;
        writer.flush().await?;
        bytes += line.len();
    }
    writer.shutdown().await?;
    Ok(bytes)
}

/// Lines asked and answered.
pub async fn line_exchange<const N: usize>() -> Outcome {
    let (client, server) = tokio::io::duplex(64 + N);
    let serving = tokio::spawn(answer_lines::<N, _>(server));
    let (mut reader, mut writer) = tokio::io::split(client);
    let asking = tokio::spawn(async move {
        for number in 0..3 {
            writer.write_all(message::<N>(number).text.as_bytes()).await?;
            writer.write_all(b"\n").await?;
        }
        writer.shutdown().await
    });
    let mut answers = String::new();
    tokio::time::timeout(Duration::from_secs(5), reader.read_to_string(&mut answers)).await??;
    asking.await??;
    Ok(serving.await?? + answers.len())
}

struct MessageCodec<const N: usize>(LengthDelimitedCodec);

impl<const N: usize> Decoder for MessageCodec<N> {
    type Item = Message<N>;
    type Error = std::io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> Result<Option<Message<N>>, std::io::Error> {
        Ok(self.0.decode(from)?.map(|frame| Message {
            text: String::from_utf8_lossy(&frame).into_owned(),
            bytes: [0; N],
        }))
    }
}

impl<const N: usize> Encoder<Message<N>> for MessageCodec<N> {
    type Error = std::io::Error;

    fn encode(&mut self, got: Message<N>, to: &mut BytesMut) -> Result<(), std::io::Error> {
        self.0.encode(Bytes::from(got.text), to)
    }
}

/// Frames through a codec, as sink and stream.
pub async fn framed_exchange<const N: usize>() -> Outcome {
    let (client, server) = tokio::io::duplex(1024);
    let codec = || MessageCodec::<N>(LengthDelimitedCodec::new());
    let echoing = tokio::spawn(async move {
        let (sink, stream) = Framed::new(server, codec()).split();
        stream.take(4).forward(sink).await
    });
    let (mut sink, mut stream) = Framed::new(client, codec()).split();
    let mut bytes = 0;
    for number in 0..4 {
        sink.send(message(number)).await?;
        if let Some(got) = stream.next().await {
            bytes += got?.text.len();
        }
    }
    echoing.await??;
    Ok(bytes)
}
