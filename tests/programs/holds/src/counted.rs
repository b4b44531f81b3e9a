// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rc, Arc and Weak: alone, with all owners in one task, with owners elsewhere, in a circle.

use crate::values::text;
use crate::{inline_cases, local_values, values, Places};
use ledger::{hold, rest, say, weigh, Cases};
use std::any::Any;
use std::cell::RefCell;
use std::hint::black_box;
use std::rc::{Rc, Weak as LocalWeak};
use std::sync::{Arc, Mutex, Weak};

static KEPT: Mutex<Vec<Box<dyn Any + Send>>> = Mutex::new(Vec::new());

/// Keeps something until the program ends.
pub fn keep_for_ever<T: Send + 'static>(it: T) {
    KEPT.lock().expect("nobody panics").push(Box::new(it));
}

struct Node {
    name: String,
    parent: Mutex<Weak<Node>>,
    children: Mutex<Vec<Arc<Node>>>,
}

fn family() -> Arc<Node> {
    let child = |length| {
        Arc::new(Node { name: text(length), parent: Mutex::default(), children: Mutex::default() })
    };
    let top = child(40);
    for length in [50, 60] {
        let below = child(length);
        *below.parent.lock().expect("nobody panics") = Arc::downgrade(&top);
        top.children.lock().expect("nobody panics").push(below);
    }
    black_box(&top.name);
    top
}

#[allow(dead_code)]
struct Ring {
    ballast: Vec<u8>,
    next: RefCell<Option<Rc<Ring>>>,
    back: RefCell<LocalWeak<Ring>>,
}

fn ring() -> Rc<Ring> {
    let first =
        Rc::new(Ring { ballast: vec![1; 500], next: RefCell::default(), back: RefCell::default() });
    let second = Rc::new(Ring {
        ballast: vec![2; 600],
        next: RefCell::new(Some(first.clone())),
        back: RefCell::new(Rc::downgrade(&first)),
    });
    *first.next.borrow_mut() = Some(second);
    first
}

async fn arc_twice() {
    let (first, bytes, requested) = weigh(|| Arc::new(vec![1u8; 700]));
    let second = first.clone();
    say("first+second", "live", bytes, requested);
    rest().await;
    drop((first, second));
}

/// Nobody but the task has it, and still its end does not free it.
async fn rc_ring() {
    let first = ring();
    say("first", "live", 0, 0);
    rest().await;
    drop(first);
}

async fn weak_is_last() {
    let (weak, bytes, requested) = weigh(|| Arc::downgrade(&Arc::new([7u64; 30])));
    say("weak", "live", bytes, requested);
    rest().await;
    drop(weak);
}

async fn weak_of_a_kept_one() {
    let strong = Arc::new(text(90));
    hold!(weak = Arc::downgrade(&strong));
    keep_for_ever(strong);
    rest().await;
    drop(weak);
}

/// The strong one here, a weak one elsewhere: the content is freed, the block stays.
async fn strong_with_a_weak_elsewhere() {
    let (content, bytes, requested) = weigh(|| text(333));
    say("strong", "live", bytes, requested);
    let strong = Arc::new(content);
    keep_for_ever(Arc::downgrade(&strong));
    rest().await;
    drop(strong);
}

async fn shared_with_main(shared: Arc<Vec<u8>>) {
    hold!(own = text(27));
    rest().await;
    drop((own, shared));
}

async fn shares(shared: Arc<Vec<u8>>) {
    rest().await;
    drop(shared);
}

async fn shares_deeply(shared: Arc<Mutex<Vec<Arc<String>>>>) {
    hold!(own = vec![1u8; 29]);
    rest().await;
    drop((shared, own));
}

async fn shares_inside(inside: Box<(u64, Arc<[u8]>)>) {
    rest().await;
    drop(inside);
}

fn start_shared(cases: &mut Cases, places: &Places) {
    cases.group("arc_kept_by_main", |case| {
        let shared = Arc::new(vec![1u8; 2345]);
        keep_for_ever(shared.clone());
        case.start(|| places.many.spawn(shared_with_main(shared)));
    });
    cases.group("arc_of_two_tasks", |case| {
        let (shared, bytes, _) = weigh(|| Arc::new(vec![1u8; 3456]));
        let other = shared.clone();
        case.start(|| places.many.spawn(shares(shared)));
        case.start(|| places.one.spawn(shares(other)));
        case.shares(bytes);
    });
    cases.group("arc_of_three_tasks", |case| {
        let make = || Arc::new(Mutex::new(vec![Arc::new(text(1000)), Arc::new(text(2000))]));
        let (shared, bytes, _) = weigh(make);
        let others = [shared.clone(), shared.clone()];
        case.start(|| places.many.spawn(shares_deeply(shared)));
        for other in others {
            case.start(|| places.many.spawn(shares_deeply(other)));
        }
        case.shares(bytes);
    });
    cases.group("arc_slice_in_boxes_of_two_tasks", |case| {
        let (shared, bytes, _) = weigh(|| Arc::<[u8]>::from(vec![1u8; 4567]));
        let boxes = [Box::new((1, shared.clone())), Box::new((2, shared))];
        for one in boxes {
            case.start(|| places.many.spawn(shares_inside(one)));
        }
        case.shares(bytes);
    });
}

pub fn start(cases: &mut Cases, places: &Places) {
    values!(cases, places.many;
        arc: Arc::new(text(300)), arc_str: Arc::<str>::from(text(70)), arc_slice: Arc::<[u64]>::from(vec![1; 80]),
        arc_dyn: Arc::new(text(600)) as Arc<dyn Any + Send + Sync>, arc_mutex: Arc::new(Mutex::new(vec![1u8; 99])),
        arc_many_owners: vec![Arc::new([1u8; 999]); 10],
        arc_in_arc: Arc::new(Arc::new(Arc::new(text(11)))), family: family(),
        weak_of_nothing: Weak::<String>::new(), arc_and_weak: { let it = Arc::new(text(44)); (Arc::downgrade(&it), it) },
        weak_and_arc: { let it = Arc::new(text(44)); (it.clone(), Arc::downgrade(&it)) },
    );
    local_values!(cases, places.local;
        rc: Rc::new(text(300)), rc_str: Rc::<str>::from(text(70)), rc_dyn: Rc::new(text(9)) as Rc<dyn Any>,
        rc_many_owners: vec![Rc::new(RefCell::new(vec![1u8; 850])); 7],
        rc_weak: { let it = Rc::new(text(44)); (Rc::downgrade(&it), it) },
    );
    inline_cases!(cases, places.many; arc_twice, weak_is_last, weak_of_a_kept_one, strong_with_a_weak_elsewhere);
    cases.group("rc_ring", |case| case.start(|| places.local.spawn(rc_ring)));
    start_shared(cases, places);
}
