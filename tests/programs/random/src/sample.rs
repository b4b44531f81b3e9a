// 3 programs of the seed 1, made by tests/snapshot/random_programs.py.

async fn f4(arg0: Vec<Arc<Mutex<String>>>) -> usize {
    let mut b: VecDeque<Vec<u8>> = { let mut it: VecDeque<Vec<u8>> = VecDeque::with_capacity(4); for n in 0..5 { it.push_back(Vec::<u8>::with_capacity(60)); if n % 2 == 0 { it.pop_front(); } } it };
    if black_box(false) { b = { let mut it: VecDeque<Vec<u8>> = VecDeque::with_capacity(4); for n in 0..5 { it.push_back(Vec::<u8>::with_capacity(60)); if n % 2 == 0 { it.pop_front(); } } it }; }
    let b: tokio::sync::oneshot::Receiver<Shape>;
    if black_box(true) { b = { let (s, r) = tokio::sync::oneshot::channel::<Shape>(); assert!(s.send(Shape::Nothing).is_ok()); r }; }
    let mut d: Option<Arc<String>> = Some(Arc::new(text(1)));
    if black_box(true) { d = Some(Arc::new(text(1))); }
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    rest().await;
    black_box(&arg0);
    1usize
}

async fn f3(arg0: &Weak<Mutex<(BytesMut, BytesMut)>>) -> usize {
    let mut d: Vec<Arc<Mutex<String>>> = vec![Arc::new(Mutex::new(text(7))); 5];
    if black_box(false) { d = vec![Arc::new(Mutex::new(text(7))); 5]; }
    let b: Weak<Mutex<Bytes>>;
    if black_box(true) { b = Arc::downgrade(&Arc::new(Mutex::new(Bytes::from(text(20000)).slice(0..0)))); }
    match black_box(Some(Shape::Many { items: vec![1; 3000], name: text(60).into() })).filter(|_: &Shape| black_box(true)) {
        Some(inside) => {
            let mut set: FuturesUnordered<BoxFuture<'static, usize>> = FuturesUnordered::new();
            set.push(f4(d).boxed());
            set.push(async { 1usize }.boxed());
            while let Some(one) = set.next().await { black_box(one); }
        }
        None => {
            rest().await;
        }
    }
    black_box(arg0);
    1usize
}

async fn f2(arg0: Box<(tokio::sync::mpsc::UnboundedSender<tokio::sync::oneshot::Receiver<Vec<u8>>>, tokio::sync::mpsc::UnboundedReceiver<tokio::sync::oneshot::Receiver<Vec<u8>>>)>) -> usize {
    let mut b: Guard = Guard(vec![3u8; 20000]);
    if black_box(false) { b = Guard(vec![3u8; 20000]); }
    takes(arg0);
    let mut c: (Box<dyn Speak>, tokio::sync::oneshot::Receiver<Guard>) = ((Box::new(Guard(vec![3u8; 60])) as Box<dyn Speak>), { let (s, r) = tokio::sync::oneshot::channel::<Guard>(); assert!(s.send(Guard(vec![3u8; 25])).is_ok()); r });
    if black_box(false) { c = ((Box::new(Guard(vec![3u8; 60])) as Box<dyn Speak>), { let (s, r) = tokio::sync::oneshot::channel::<Guard>(); assert!(s.send(Guard(vec![3u8; 25])).is_ok()); r }); }
    let c: Weak<Mutex<(BytesMut, BytesMut)>> = Arc::downgrade(&Arc::new(Mutex::new({ let mut it = BytesMut::zeroed(139); (it.split_to(4), it) })));
    black_box(f3(&c).await);
    black_box(&c);
    1usize
}

async fn f1() -> usize {
    let d: Box<dyn FnOnce() + Send> = black_box({ let it = { let (s, r) = tokio::sync::mpsc::unbounded_channel::<(u64, Bytes)>(); for _ in 0..40 { assert!(s.send((858288075698, Bytes::from(vec![1u8; 3000]))).is_ok()); } (s, r) }; Box::new(move || takes(it)) as Box<dyn FnOnce() + Send> });
    let _ = Some(d).take();
    black_box(f2(Box::new({ let (s, r) = tokio::sync::mpsc::unbounded_channel::<tokio::sync::oneshot::Receiver<Vec<u8>>>(); for _ in 0..1 { assert!(s.send({ let (s, r) = tokio::sync::oneshot::channel::<Vec<u8>>(); assert!(s.send({ let mut it = vec![2u8; 24]; it.truncate(3); it.shrink_to_fit(); it }).is_ok()); r }).is_ok()); } (s, r) })).await);
    1usize
}

async fn f5(arg0: Result<(BytesMut, Arc<String>), String>) -> usize {
    if black_box(true) { takes(arg0); }
    let a: Vec<BTreeMap<u32, Bytes>> = black_box({ let mut it: Vec<BTreeMap<u32, Bytes>> = Vec::with_capacity(0); for _ in 0..17 { it.push((0..50u32).map(|n| (n, Bytes::from(text(1025)).slice(0..0))).collect()); } it });
    if black_box(false) { takes(a); }
    let d: HashMap<u32, Vec<String>> = black_box((0..1u32).map(|n| (n, { let mut it: Vec<String> = Vec::with_capacity(40); for _ in 0..3 { it.push(text(25)); } it })).collect());
    rest().await;
    1usize
}

async fn f8(arg0: Vec<Arc<Mutex<(Weak<Mutex<Guard>>, Arc<Mutex<Guard>>)>>>) -> usize {
    tokio::task::yield_now().await;
    if black_box(false) { takes(arg0); }
    rest().await;
    1usize
}

async fn f10(arg0: String) -> usize {
    tokio::task::yield_now().await;
    let mut a: Arc<Mutex<(Arc<Mutex<Guard>>, Weak<Mutex<Guard>>)>> = Arc::new(Mutex::new({ let it = Arc::new(Mutex::new(Guard(vec![3u8; 20000]))); let w = Arc::downgrade(&it); (it, w) }));
    if black_box(true) { a = Arc::new(Mutex::new({ let it = Arc::new(Mutex::new(Guard(vec![3u8; 20000]))); let w = Arc::downgrade(&it); (it, w) })); }
    let a: Arc<Mutex<Result<Shape, String>>> = black_box(Arc::new(Mutex::new(Err(text(60)))));
    rest().await;
    1usize
}

async fn f11(arg0: Guard) -> usize {
    let c: Option<Box<dyn FnOnce() + Send>> = black_box(Some({ let it = Shape::Nested(Box::new(Shape::Named(text(24)))); Box::new(move || takes(it)) as Box<dyn FnOnce() + Send> }));
    let a: Arc<Mutex<String>> = black_box(Arc::new(Mutex::new(text(1025))));
    rest().await;
    black_box(&a);
    black_box(&arg0);
    black_box(&c);
    1usize
}

async fn f12() -> usize {
    rest().await;
    1usize
}

async fn f9(arg0: &Weak<Mutex<String>>) -> usize {
    let c: HashMap<u32, Result<(Bytes, Bytes), String>> = black_box((0..0u32).map(|n| (n, Ok({ let it = Bytes::from(vec![1u8; 10]); (it.slice(3..7), it) }))).collect());
    if black_box(true) { takes(c); }
    let d: (Arc<Mutex<Vec<u8>>>, Vec<u8>);
    if black_box(true) { d = (Arc::new(Mutex::new(vec![1u8; 130])), vec![1u8; 24]); }
    let mut held = Box::pin(f10(text(130)));
    assert!(futures::poll!(&mut held).is_pending());
    let mut set: FuturesUnordered<BoxFuture<'static, usize>> = FuturesUnordered::new();
    set.push(f11(Guard(vec![3u8; 24])).boxed());
    set.push(f12().boxed());
    while let Some(one) = set.next().await { black_box(one); }
    black_box(arg0);
    1usize
}

async fn f7(arg0: Vec<Arc<Mutex<(Weak<Mutex<Guard>>, Arc<Mutex<Guard>>)>>>) -> usize {
    let held = f8(arg0);
    let c: Weak<Mutex<String>> = Arc::downgrade(&Arc::new(Mutex::new(text(60))));
    black_box(f9(&c).await);
    1usize
}

async fn f6() -> usize {
    let c: Vec<u8>;
    if black_box(true) { c = Vec::<u8>::with_capacity(24); }
    let a: tokio::sync::oneshot::Receiver<(Arc<Mutex<(Bytes, Bytes)>>, Weak<Mutex<(Bytes, Bytes)>>)> = black_box({ let (s, r) = tokio::sync::oneshot::channel::<(Arc<Mutex<(Bytes, Bytes)>>, Weak<Mutex<(Bytes, Bytes)>>)>(); assert!(s.send({ let it = Arc::new(Mutex::new({ let it = Bytes::from(vec![1u8; 34]); (it.slice(3..7), it) })); let w = Arc::downgrade(&it); (it, w) }).is_ok()); r });
    if black_box(false) { takes(a); }
    let d: Shape = black_box(Shape::Nested(Box::new(Shape::Named(text(3000)))));
    black_box(future::join_all((0..3).map(|_| f7(vec![Arc::new(Mutex::new({ let it = Arc::new(Mutex::new(Guard(vec![3u8; 1]))); let w = Arc::downgrade(&it); (w, it) })); 1]))).await.len());
    black_box(&d);
    1usize
}

fn start(cases: &mut Cases, places: &[Place]) {
    cases.one(&places[0], "0 f1", f1());
    cases.one(&places[1], "1 f5", f5(Ok((BytesMut::with_capacity(60), Arc::new(text(25))))));
    cases.one(&places[0], "2 f6", f6());
}
