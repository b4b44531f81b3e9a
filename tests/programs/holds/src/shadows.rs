// SPDX-License-Identifier: MIT OR Apache-2.0
//! Variables of one name that are alive at once: debug info describes only one place of them.

use crate::values::text;
use crate::{cases, Places};
use ledger::{hold, rest, say, weigh, Cases};
use std::collections::HashMap;

/// Says what variables of one name hold together; the frame's hidden bytes have what the slot has not.
fn say_together(bytes: usize) {
    say("*", "hidden", bytes, 0);
}

async fn two_vecs() {
    let (x, first, _) = weigh(|| vec![1u8; 1000]);
    let _keeps_first = &x;
    let (x, second, _) = weigh(|| vec![2u8; 2000]);
    say_together(first + second);
    rest().await;
    drop(x);
}

async fn three_of_three_types() {
    let (x, first, _) = weigh(|| vec![1u8; 100]);
    let _keeps = x.len();
    let (x, second, _) = weigh(|| text(220));
    let _keeps = x.len();
    let (x, third, _) = weigh(|| HashMap::from([(1u8, text(330))]));
    say_together(first + second + third);
    rest().await;
    drop(x);
}

/// The first is dropped before the await.
async fn one_of_two_is_gone() {
    let x = text(150);
    drop(x);
    hold!(x = text(450));
    rest().await;
    drop(x);
}

async fn in_an_inner_block() {
    let (x, first, _) = weigh(|| text(77));
    {
        let (x, second, _) = weigh(|| Box::new([1u8; 555]));
        say_together(first + second);
        rest().await;
        drop(x);
    }
    drop(x);
}

async fn shadows_its_argument(x: Vec<u8>) {
    let bytes = super::moves::usable(&x);
    let (x, second, _) = weigh(|| text(x.len() + 5));
    say_together(bytes + second);
    rest().await;
    drop(x);
}

async fn for_and_match(x: Option<String>) {
    let mut bytes = x.as_ref().map_or(0, |it| super::moves::usable(it.as_bytes()));
    for x in [text(66)] {
        bytes += super::moves::usable(x.as_bytes());
        say_together(bytes);
        rest().await;
    }
    drop(x);
}

pub fn start(cases: &mut Cases, places: &Places) {
    cases!(cases, places.many; two_vecs, three_of_three_types, one_of_two_is_gone, in_an_inner_block);
    cases.one(&places.many, "shadows_its_argument", shadows_its_argument(vec![1; 321]));
    cases.one(&places.many, "for_and_match", for_and_match(Some(text(99))));
}
