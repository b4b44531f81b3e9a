// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boxes, strings, enums with and without niches, cells and trait objects.

use crate::{inline_values, values, Places};
use ledger::Cases;
use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell, UnsafeCell};
use std::error::Error;
use std::ffi::{CString, OsString};
use std::fmt::Debug;
use std::hint::black_box;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Mutex, OnceLock, RwLock};

pub fn text(length: usize) -> String {
    "x".repeat(length)
}

/// A pointer at offset 8, and a niche in its first word.
#[allow(dead_code)]
enum Shape {
    Nothing,
    Named(String),
    Many { items: Vec<u32>, name: Box<str> },
    Nested(Box<Shape>),
    Number(u64),
}

#[allow(dead_code)]
#[repr(u8)]
enum Tagged {
    Small(u8),
    Large(Box<[u64; 40]>),
    Pair(String, Vec<u8>),
}

#[allow(dead_code)]
#[repr(C)]
union Either {
    number: u64,
    text: ManuallyDrop<Box<u64>>,
}

trait Speak: Send + Sync {
    fn speak(&self) -> usize;
}

struct Loud(String, Vec<u16>);
struct Quiet;

impl Speak for Loud {
    fn speak(&self) -> usize {
        self.0.len() + self.1.len()
    }
}

impl Speak for Quiet {
    fn speak(&self) -> usize {
        0
    }
}

#[derive(Debug)]
#[allow(dead_code)]
struct Failure {
    why: String,
    below: Option<Box<dyn Error + Send + Sync>>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl Error for Failure {}

fn failure() -> Box<dyn Error + Send + Sync> {
    let below: Box<dyn Error + Send + Sync> = "a text becomes an error".into();
    Box::new(Failure { why: text(70), below: Some(below) })
}

fn nested(depth: usize) -> Shape {
    (0..depth).fold(Shape::Named(text(33)), |shape, _| Shape::Nested(Box::new(shape)))
}

fn speakers() -> Vec<Box<dyn Speak>> {
    let all: Vec<Box<dyn Speak>> = vec![
        Box::new(Loud(text(100), vec![1; 77])),
        Box::new(Quiet),
        Box::new(Loud(text(5), vec![])),
    ];
    black_box(all.iter().map(|one| one.speak()).sum::<usize>());
    all
}

fn set_once<T: Debug>(cell: OnceLock<T>, value: T) -> OnceLock<T> {
    cell.set(value).expect("not set before");
    cell
}

pub fn start(cases: &mut Cases, places: &Places) {
    inline_values!(cases, places.many;
        box_small: Box::new(7u8), string_inline: text(31), result_inline: Err::<u8, _>(failure()),
        shape_inline: Shape::Many { items: vec![5; 67], name: text(7).into() }, dyn_inline: speakers(),
    );
    values!(cases, places.many;
        box_unit: Box::new(()), box_large: Box::new([1u8; 4096]),
        box_aligned: Box::new(Aligned([0; 64])), box_box_vec: Box::new(Box::new(vec![1u16; 300])),
        box_slice: vec![3u32; 55].into_boxed_slice(), box_slice_empty: Vec::<u64>::new().into_boxed_slice(),
        box_str: text(123).into_boxed_str(), box_path: PathBuf::from(text(40)).into_boxed_path(),
        pin_box: Box::pin(text(64)), mapped: vec![1u8; 1 << 20],
        string_empty: String::new(), string_one: text(1), string_many: text(10_000),
        string_spare: { let mut it = String::with_capacity(900); it.push_str("abc"); it },
        string_shrunk: { let mut it = text(3000); it.truncate(9); it.shrink_to_fit(); it },
        path_buf: Path::new("/a/b/c").join(text(99)), os_string: OsString::from(text(201)),
        c_string: CString::new(text(77)).expect("no NUL"),
        cow_owned: Cow::<'static, str>::Owned(text(88)), cow_borrowed: Cow::<'static, str>::Borrowed("static"),
        cow_slice: Cow::<'static, [u64]>::Owned(vec![1; 12]),
        none_string: None::<String>, some_string: Some(text(51)), some_box: Some(Box::new(3u64)),
        none_box: None::<Box<u64>>, some_none: Some(None::<Vec<u8>>), some_some: Some(Some(vec![1u8; 31])),
        some_tuple: Some((1u8, text(14), None::<Box<u8>>, Some(NonZeroU32::MIN))),
        ok_string: Ok::<String, Box<dyn Error + Send + Sync>>(text(45)),
        err_dyn: Err::<String, Box<dyn Error + Send + Sync>>(failure()),
        err_io: std::io::Error::other(text(61)), err_io_simple: std::io::Error::from_raw_os_error(2),
        shape_nothing: Shape::Nothing, shape_named: Shape::Named(text(17)),
        shape_many: Shape::Many { items: vec![5; 66], name: text(8).into() },
        shape_nested: nested(6), shape_number: Shape::Number(0x7000_1234),
        tagged_small: Tagged::Small(4), tagged_large: Tagged::Large(Box::new([9; 40])),
        tagged_pair: Tagged::Pair(text(30), vec![1; 40]),
        dyn_loud: Box::new(Loud(text(20), vec![2; 20])) as Box<dyn Speak>,
        dyn_quiet: Box::new(Quiet) as Box<dyn Speak>, dyn_many: speakers(),
        dyn_any: Box::new(text(200)) as Box<dyn Any + Send>,
        dyn_fn: { let inside = text(400); Box::new(move || inside.len()) as Box<dyn Fn() -> usize + Send> },
        dyn_once: { let inside = vec![text(9), text(99)];
            Box::new(move || drop(inside)) as Box<dyn FnOnce() + Send> },
        mutex: Mutex::new(vec![1u8; 350]), rw_lock: RwLock::new(text(36)),
        mutex_parking_lot: parking_lot::Mutex::new(Some(text(72))),
        cell: Cell::new(Some(Box::new([1u32; 9]))), ref_cell: RefCell::new(vec![text(3); 3]),
        unsafe_cell: UnsafeCell::new(text(42)), once_cell: OnceCell::from(text(43)),
        once_lock: set_once(OnceLock::new(), text(44)), once_lock_empty: OnceLock::<String>::new(),
        array: [text(10), text(200), String::new()], tuple: (text(1), 5u8, vec![text(60)], [0u64; 4]),
        manually_dropped: ManuallyDrop::new(0u64), maybe_uninit: MaybeUninit::<String>::uninit(),
        union_number: Either { number: 5 }, pinned_dyn: Box::pin(Loud(text(6), vec![])) as Pin<Box<dyn Speak>>,
        thousand_boxes: (0..1000u64).map(Box::new).collect::<Vec<_>>(),
    );
}

#[repr(align(64))]
#[allow(dead_code)]
struct Aligned([u8; 64]);
