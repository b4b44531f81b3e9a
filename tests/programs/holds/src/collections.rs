// SPDX-License-Identifier: MIT OR Apache-2.0
//! The collections of std and of crates: empty, with one element, with many, shrunk, partly consumed.

use crate::values::text;
use crate::{inline_values, local_values, values, Places};
use ledger::Cases;
use smallvec::{smallvec, SmallVec};
use std::collections::{
    btree_map, hash_map, BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque,
};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::rc::Rc;

type Fixed = BuildHasherDefault<DefaultHasher>;

fn spare<T>(capacity: usize, items: Vec<T>) -> Vec<T> {
    let mut made = Vec::with_capacity(capacity);
    made.extend(items);
    made
}

fn wrapped() -> VecDeque<String> {
    let mut queue = VecDeque::with_capacity(16);
    (0..14).for_each(|length| queue.push_back(text(length * 10)));
    for length in 0..9 {
        queue.pop_front();
        queue.push_back(text(300 + length));
    }
    queue
}

fn numbers(count: u32) -> HashMap<u32, u64, Fixed> {
    (0..count).map(|number| (number, 1)).collect()
}

fn texts(count: usize) -> BTreeMap<usize, String> {
    (0..count).map(|number| (number, text(number % 50))).collect()
}

fn boxes_by_name() -> HashMap<String, Vec<Box<[u8; 100]>>> {
    (0..20)
        .map(|number| (text(number), (0..number).map(|_| Box::new([1; 100])).collect()))
        .collect()
}

fn thinned() -> HashMap<u32, String> {
    let mut map: HashMap<u32, String> = (0..500).map(|number| (number, text(20))).collect();
    map.retain(|number, _| number % 7 == 0);
    map
}

fn half_a_map() -> hash_map::IntoIter<u32, String> {
    let mut items = (0..40).map(|number| (number, text(25))).collect::<HashMap<_, _>>().into_iter();
    (0..15).for_each(|_| drop(items.next()));
    items
}

fn half_a_tree() -> btree_map::IntoIter<usize, String> {
    let mut items = texts(200).into_iter();
    (0..90).for_each(|_| drop(items.next()));
    items
}

fn half_a_vec() -> std::vec::IntoIter<String> {
    let mut items = (10..50).map(text).collect::<Vec<_>>().into_iter();
    (0..11).for_each(|_| drop(items.next()));
    drop(items.next_back());
    items
}

fn slab() -> slab::Slab<String> {
    let mut slab: slab::Slab<String> = (0..20).map(|number| (number, text(30))).collect();
    (0..20).step_by(3).for_each(|number| drop(slab.remove(number)));
    slab
}

fn tree_of_trees() -> BTreeMap<String, BTreeMap<u8, Vec<String>>> {
    (0..6u8)
        .map(|outer| (text(30), (0..outer * 3).map(|inner| (inner, vec![text(12); 2])).collect()))
        .map(|(name, inner): (String, _)| (format!("{name}{:p}", &inner), inner))
        .collect()
}

pub fn start(cases: &mut Cases, places: &Places) {
    inline_values!(cases, places.many;
        vec_inline: vec![vec![1u8; 7]; 3], hash_inline: boxes_by_name(), tree_inline: texts(30), deque_inline: wrapped(),
    );
    values!(cases, places.many;
        vec_empty: Vec::<u64>::new(), vec_one: vec![1u8], vec_many: vec![2u64; 10_000],
        vec_spare: spare(5000, vec![1u8, 2, 3]), vec_spare_texts: spare(100, vec![text(50)]),
        vec_shrunk: { let mut it = vec![7u32; 900]; it.truncate(5); it.shrink_to_fit(); it },
        vec_of_nothing: vec![(); 1000], vec_of_vecs: (0..30).map(|size| vec![1u8; size]).collect::<Vec<_>>(),
        vec_of_texts: (0..10_000).map(|size| text(size % 40)).collect::<Vec<_>>(),
        vec_of_options: (0..60u64).map(|n| (n % 3 == 0).then(|| Box::new(n))).collect::<Vec<_>>(),
        vec_of_tuples: vec![(text(9), 1u8), (text(90), 2)], vec_of_arrays: vec![[text(2), text(50)]],
        vec_into_iter: half_a_vec(), vec_peekable: half_a_vec().peekable(),
        vec_chain: vec![text(5)].into_iter().chain(half_a_vec()).skip(1),
        deque_empty: VecDeque::<u8>::new(), deque_one: VecDeque::from([text(20)]), deque_wrapped: wrapped(),
        deque_many: (0..5000u32).collect::<VecDeque<_>>(),
        list_empty: LinkedList::<u8>::new(), list_one: LinkedList::from([text(20)]),
        list_many: (0..3000).map(|size| text(size % 30)).collect::<LinkedList<_>>(),
        heap_many: (0..200).map(text).collect::<BinaryHeap<_>>(),
    );
    values!(cases, places.one;
        hash_empty: HashMap::<u32, u64>::new(), hash_one: numbers(1), hash_many: numbers(1000),
        hash_spare: HashMap::<u64, String>::with_capacity(777), hash_boxes: boxes_by_name(), hash_thinned: thinned(),
        hash_shrunk: { let mut it = thinned(); it.shrink_to_fit(); it }, hash_into_iter: half_a_map(),
        hash_set: (0..70).map(text).collect::<HashSet<_>>(),
        hash_large: (0..50u16).map(|n| (n, [n; 60])).collect::<HashMap<_, _>>(),
        tree_empty: texts(0), tree_1: texts(1), tree_11: texts(11), tree_12: texts(12), tree_10_000: texts(10_000),
        tree_set: (0..300u64).collect::<BTreeSet<_>>(), tree_of_trees: tree_of_trees(), tree_into_iter: half_a_tree(),
        tree_emptied: { let mut it = texts(100); it.retain(|_, _| false); it },
        small_vec_inline: { let it: SmallVec<[String; 4]> = smallvec![text(20), text(30)]; it },
        small_vec_spilled: { let it: SmallVec<[u8; 8]> = smallvec![3; 100]; it }, slab: slab(),
        dash_map: (0..64u32).map(|n| (n, text(15))).collect::<dashmap::DashMap<_, _>>(),
        boxed_iterator: Box::new(half_a_vec().map(|it| it.len())) as Box<dyn Iterator<Item = usize> + Send>,
    );
    local_values!(cases, places.local;
        local_vec: vec![text(80); 8], local_rc_map: (0..9).map(|n| (n, Rc::new(text(n)))).collect::<HashMap<_, _>>(),
    );
}
