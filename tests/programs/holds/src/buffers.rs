// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes and BytesMut in each of their forms.

use crate::counted::keep_for_ever;
use crate::values::text;
use crate::{cases, values, Places};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ledger::{rest, weigh, Cases};

fn exact(length: usize) -> Bytes {
    Bytes::from(vec![1u8; length].into_boxed_slice())
}

fn spare(capacity: usize) -> Bytes {
    let mut vec = Vec::with_capacity(capacity);
    vec.push(1u8);
    Bytes::from(vec)
}

fn halves(length: usize) -> (BytesMut, BytesMut) {
    let mut whole = BytesMut::zeroed(length);
    let half = whole.split_to(length / 2);
    (whole, half)
}

fn advanced() -> BytesMut {
    let mut buffer = BytesMut::with_capacity(4096);
    buffer.put_slice(&[1; 3000]);
    buffer.advance(1000);
    buffer
}

fn chain() -> impl Buf + Send {
    exact(50).chain(spare(60)).chain(Bytes::from_static(b"end"))
}

/// A part of it is kept elsewhere: the task's end frees nothing of it.
async fn slice_kept_elsewhere() {
    let whole = exact(1500);
    keep_for_ever(whole.slice(100..200));
    rest().await;
    drop(whole);
}

/// The other half has gone before: the task has all.
async fn other_half_has_gone() {
    let (kept, gone) = halves(2500);
    drop(gone);
    rest().await;
    drop(kept);
}

async fn has(part: Bytes) {
    rest().await;
    drop(part);
}

async fn has_mut(part: BytesMut) {
    rest().await;
    drop(part);
}

pub fn start(cases: &mut Cases, places: &Places) {
    values!(cases, places.many;
        bytes_empty: Bytes::new(), bytes_static: Bytes::from_static(b"static"), bytes_exact: exact(1000),
        bytes_spare: spare(1000), bytes_slice: exact(900).slice(100..300), bytes_string: Bytes::from(text(50)),
        bytes_clones: { let it = exact(800); vec![it.clone(), it.slice(3..9), it] },
        bytes_split: { let mut it = spare(700); let tail = it.split_off(1); (it, tail) },
        bytes_owner: Bytes::from_owner(vec![1u8; 345]),
        bytes_mut_empty: BytesMut::new(), bytes_mut: BytesMut::with_capacity(3000), bytes_mut_advanced: advanced(),
        bytes_mut_halves: halves(5000), bytes_mut_frozen: halves(600).0.freeze(),
        bytes_mut_all_frozen: BytesMut::from(&b"some text that is copied"[..]).freeze(),
        bytes_mut_rejoined: { let (mut tail, mut head) = halves(640); tail.put_u8(1); head.unsplit(tail); head },
        bytes_chain: chain(), bytes_reader: exact(222).reader(), bytes_many: (0..50).map(exact).collect::<Vec<_>>(),
    );
    cases!(cases, places.many; slice_kept_elsewhere, other_half_has_gone);
    cases.group("bytes_of_two_tasks", |case| {
        let ((first, second), bytes, _) = weigh(|| {
            let whole = exact(4321);
            (whole.slice(..10), whole)
        });
        case.start(|| places.many.spawn(has(first)));
        case.start(|| places.many.spawn(has(second)));
        case.shares(bytes);
    });
    cases.group("bytes_mut_of_two_tasks", |case| {
        let ((first, second), bytes, _) = weigh(|| halves(5432));
        case.start(|| places.many.spawn(has_mut(first)));
        case.start(|| places.many.spawn(has_mut(second)));
        case.shares(bytes);
    });
}
