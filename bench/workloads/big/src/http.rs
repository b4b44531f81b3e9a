// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tasks that speak HTTP, over pipes inside the process.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tower::{ServiceBuilder, ServiceExt};

use crate::local::{message, Message};
use crate::Outcome;

async fn answer<const N: usize>(
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let got: Message<N> = message(request.uri().path().len());
    let body = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
    tokio::time::sleep(Duration::from_micros(body as u64)).await;
    Ok(Response::new(Full::from(got.text)))
}

async fn ask<const N: usize>(stream: DuplexStream) -> Outcome {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
    let connected = tokio::spawn(connection);
    let mut bytes = 0;
    for number in 0..2 {
        let request = Request::post("/x")
            .header("host", "inside")
            .body(Full::from(message::<N>(number).text))?;
        bytes += sender.send_request(request).await?.into_body().collect().await?.to_bytes().len();
    }
    drop(sender);
    connected.await??;
    Ok(bytes)
}

/// A server connection whose service is another type for each constant.
pub async fn server_exchange<const N: usize>() -> Outcome {
    let (client, server) = tokio::io::duplex(4096);
    let serving = tokio::spawn(
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(server), service_fn(answer::<N>))
            .with_upgrades(),
    );
    let bytes = ask::<N>(client).await?;
    serving.await??;
    Ok(bytes)
}

/// A body that is another type for each constant, sent by a client connection.
pub async fn client_exchange<const N: usize>() -> Outcome {
    let (client, server) = tokio::io::duplex(4096);
    let serving = tokio::spawn(
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(server), service_fn(answer::<0>)),
    );
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(client)).await?;
    let connected = tokio::spawn(connection);
    let body = Full::from(message::<N>(1).text)
        .map_frame(|frame| frame.map_data(|data: Bytes| data.slice(..data.len().min(N))));
    let request = Request::post("/y").header("host", "inside").body(body)?;
    let bytes = sender.send_request(request).await?.into_body().collect().await?.to_bytes().len();
    drop(sender);
    connected.await??;
    serving.await??;
    Ok(bytes)
}

#[derive(Clone)]
struct Shared<const N: usize> {
    greeting: String,
}

async fn show<const N: usize>(State(state): State<Shared<N>>, Path(key): Path<usize>) -> String {
    tokio::task::yield_now().await;
    format!("{} {}", state.greeting, message::<N>(key).text)
}

async fn store<const N: usize>(
    State(state): State<Shared<N>>,
    Json(body): Json<serde_json::Value>,
) -> Json<serde_json::Value> {
    tokio::time::sleep(Duration::from_micros(N as u64)).await;
    Json(serde_json::json!({ "of": state.greeting, "got": body }))
}

/// Routes, extractors and layers.
pub async fn routed_exchange<const N: usize>() -> Outcome {
    let router = Router::new()
        .route("/rows/{key}", get(show::<N>))
        .route("/rows", post(store::<N>))
        .with_state(Shared { greeting: format!("shared {N}") });
    let service = ServiceBuilder::new().concurrency_limit(4).service(router);
    let request = Request::get("/rows/3").body(axum::body::Body::empty())?;
    let shown = service.clone().oneshot(request).await?;
    let mut bytes = shown.into_body().collect().await?.to_bytes().len();
    let request = Request::post("/rows")
        .header("content-type", "application/json")
        .body(axum::body::Body::from(r#"{"a": 1}"#))?;
    let stored = service.oneshot(request).await?;
    bytes += stored.into_body().collect().await?.to_bytes().len();
    Ok(bytes)
}
