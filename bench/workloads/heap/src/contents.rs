// SPDX-License-Identifier: MIT OR Apache-2.0
//! What tasks and the cache hold: containers that grow as they are filled, with values of many sizes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hint::black_box;

/// Sizes that differ and are the same in every run.
pub struct Sizes(u64);

impl Sizes {
    pub fn new(seed: usize) -> Sizes {
        Sizes((seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    /// Most are small: 8 to 39 bytes, to 103, and one in 32 to 551.
    fn next(&mut self) -> usize {
        match self.below(32) {
            0 => 40 + self.below(512),
            1..=15 => 40 + self.below(64),
            _ => 8 + self.below(32),
        }
    }

    pub fn text(&mut self) -> String {
        "x".repeat(self.next())
    }

    pub fn bytes(&mut self) -> Vec<u8> {
        black_box(vec![b'b'; self.next()])
    }

    pub fn boxed(&mut self) -> Box<[u8]> {
        self.bytes().into_boxed_slice()
    }
}

pub trait Item: Send {
    fn weight(&self) -> usize;
}

struct Text(String);
struct Blob {
    header: [u64; 3],
    body: Box<[u8]>,
}

impl Item for Text {
    fn weight(&self) -> usize {
        self.0.len()
    }
}

impl Item for Blob {
    fn weight(&self) -> usize {
        self.header.len() + self.body.len()
    }
}

pub fn parts(sizes: &mut Sizes, number: usize) -> Vec<Box<[u8]>> {
    let mut parts = Vec::new();
    for _ in 0..number {
        parts.push(sizes.boxed());
    }
    parts
}

pub fn headers(sizes: &mut Sizes, number: usize) -> HashMap<u64, String> {
    let mut headers = HashMap::new();
    for key in 0..number as u64 {
        headers.insert(key, sizes.text());
    }
    headers
}

pub fn index(sizes: &mut Sizes, number: usize) -> BTreeMap<u64, Vec<u8>> {
    let mut index = BTreeMap::new();
    for key in 0..number as u64 {
        index.insert(key.wrapping_mul(0x9e37_79b9), sizes.bytes());
    }
    index
}

/// Two blocks each.
pub fn items(sizes: &mut Sizes, number: usize) -> VecDeque<Box<dyn Item>> {
    let mut items: VecDeque<Box<dyn Item>> = VecDeque::new();
    for i in 0..number {
        if i % 2 == 0 {
            items.push_back(Box::new(Text(sizes.text())));
        } else {
            items.push_back(Box::new(Blob { header: [i as u64; 3], body: sizes.boxed() }));
        }
    }
    items
}

/// Shared by a group of tasks.
pub struct Settings {
    pub name: String,
    pub values: BTreeMap<u64, Vec<u8>>,
}

impl Settings {
    pub fn new(seed: usize) -> Settings {
        let mut sizes = Sizes::new(seed);
        Settings { name: sizes.text(), values: index(&mut sizes, 20) }
    }
}

/// Hangs from a global.
#[derive(Default)]
pub struct Cache {
    pub entries: HashMap<u64, Entry>,
    pub recent: Vec<Box<[u8]>>,
}

/// Six to nine blocks.
pub struct Entry {
    pub name: String,
    pub body: Box<Vec<u8>>,
    pub tags: Vec<Box<[u8]>>,
}

impl Entry {
    pub fn new(sizes: &mut Sizes) -> Entry {
        let nr_tags = 2 + sizes.below(4);
        Entry { name: sizes.text(), body: Box::new(sizes.bytes()), tags: parts(sizes, nr_tags) }
    }
}
