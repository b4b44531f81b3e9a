// 3 programs of the seed 1, made by tests/snapshot/random_programs.py.

async fn f4(arg0: tokio::sync::oneshot::Receiver<Vec<Arc<Mutex<Vec<u8>>>>>) -> usize {
    if black_box(true) { takes(arg0); }
    tokio::task::yield_now().await;
    let d: BTreeMap<u32, Arc<String>> = black_box((0..0u32).map(|n| (n, Arc::new(text(1)))).collect());
    let b: Arc<String> = black_box(Arc::new(text(3000)));
    rest().await;
    black_box(&b);
    black_box(&d);
    1usize
}

async fn f5(arg0: Box<dyn FnOnce() + Send + Sync>, arg1: VecDeque<tokio::sync::oneshot::Receiver<Box<Guard>>>) -> usize {
    let d: Box<[u64; 513]> = black_box(Box::new([7u64; 513]));
    let mut c: Box<dyn FnOnce() + Send + Sync> = { let it: Vec<u8> = Vec::<u8>::with_capacity(20000); Box::new(move || takes(it)) as Box<dyn FnOnce() + Send + Sync> };
    if black_box(false) { c = { let it: Vec<u8> = Vec::<u8>::with_capacity(20000); Box::new(move || takes(it)) as Box<dyn FnOnce() + Send + Sync> }; }
    let d: HashMap<u32, Vec<String>> = black_box((0..1u32).map(|n| (n, { let mut it: Vec<String> = Vec::with_capacity(40); for _ in 0..3 { it.push(text(25)); } it })).collect());
    rest().await;
    black_box(&arg0);
    1usize
}

async fn f6(arg0: Box<dyn FnOnce() + Send + Sync>) -> usize {
    let d: Bytes = black_box(Bytes::from(text(3000)).slice(0..0));
    let d: (tokio::sync::mpsc::UnboundedSender<u64>, tokio::sync::mpsc::UnboundedReceiver<u64>) = black_box({ let (s, r) = tokio::sync::mpsc::unbounded_channel::<u64>(); for _ in 0..40 { assert!(s.send(713038445429).is_ok()); } (s, r) });
    rest().await;
    black_box(&arg0);
    black_box(&d);
    1usize
}

async fn f3(arg0: &Weak<Mutex<(BytesMut, BytesMut)>>) -> usize {
    let mut d: Vec<Arc<Mutex<String>>> = vec![Arc::new(Mutex::new(text(7))); 5];
    if black_box(false) { d = vec![Arc::new(Mutex::new(text(7))); 5]; }
    let b: Weak<Mutex<Bytes>>;
    if black_box(true) { b = Arc::downgrade(&Arc::new(Mutex::new(Bytes::from(text(20000)).slice(0..0)))); }
    match black_box(Some(Shape::Many { items: vec![1; 3000], name: text(60).into() })).filter(|_: &Shape| black_box(false)) {
        Some(inside) => {
            let items: Vec<Box<Box<[u64; 16]>>> = vec![Box::new(Box::new([7u64; 16])), Box::new(Box::new([7u64; 16])), Box::new(Box::new([7u64; 16]))];
            for item in items {
                if black_box(true) { tokio::task::yield_now().await; }
                black_box(f4({ let (s, r) = tokio::sync::oneshot::channel::<Vec<Arc<Mutex<Vec<u8>>>>>(); assert!(s.send(vec![Arc::new(Mutex::new({ let mut it = vec![2u8; 1025]; it.truncate(3); it.shrink_to_fit(); it })); 5]).is_ok()); r }).await);
            }
        }
        None => {
            let items: Vec<Box<dyn FnOnce() + Send + Sync>> = vec![{ let it: (Arc<Mutex<Vec<u8>>>, Weak<Mutex<Vec<u8>>>) = { let it = Arc::new(Mutex::new(Vec::<u8>::with_capacity(130))); let w = Arc::downgrade(&it); (it, w) }; Box::new(move || takes(it)) as Box<dyn FnOnce() + Send + Sync> }, { let it: (Arc<Mutex<Vec<u8>>>, Weak<Mutex<Vec<u8>>>) = { let it = Arc::new(Mutex::new(Vec::<u8>::with_capacity(130))); let w = Arc::downgrade(&it); (it, w) }; Box::new(move || takes(it)) as Box<dyn FnOnce() + Send + Sync> }, { let it: (Arc<Mutex<Vec<u8>>>, Weak<Mutex<Vec<u8>>>) = { let it = Arc::new(Mutex::new(Vec::<u8>::with_capacity(130))); let w = Arc::downgrade(&it); (it, w) }; Box::new(move || takes(it)) as Box<dyn FnOnce() + Send + Sync> }];
            for item in items {
                if black_box(true) { tokio::task::yield_now().await; }
                black_box(future::join(f5(item, { let mut it: VecDeque<tokio::sync::oneshot::Receiver<Box<Guard>>> = VecDeque::with_capacity(4); for n in 0..5 { it.push_back({ let (s, r) = tokio::sync::oneshot::channel::<Box<Guard>>(); assert!(s.send(Box::new(Guard(vec![3u8; 0]))).is_ok()); r }); if n % 2 == 0 { it.pop_front(); } } it }), f6({ let it: Vec<u8> = Vec::<u8>::with_capacity(24); Box::new(move || takes(it)) as Box<dyn FnOnce() + Send + Sync> })).await);
            }
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
    let d: Weak<Mutex<(BytesMut, BytesMut)>> = Arc::downgrade(&Arc::new(Mutex::new({ let mut it = BytesMut::zeroed(139); (it.split_to(4), it) })));
    black_box(f3(&d).await);
    black_box(&b);
    1usize
}

async fn f1() -> usize {
    let d: Box<dyn FnOnce() + Send + Sync> = black_box({ let it: (tokio::sync::mpsc::UnboundedSender<(u64, Bytes)>, tokio::sync::mpsc::UnboundedReceiver<(u64, Bytes)>) = { let (s, r) = tokio::sync::mpsc::unbounded_channel::<(u64, Bytes)>(); for _ in 0..40 { assert!(s.send((858288075698, Bytes::from(vec![1u8; 3000]))).is_ok()); } (s, r) }; Box::new(move || takes(it)) as Box<dyn FnOnce() + Send + Sync> });
    let _ = Some(d).take();
    black_box(f2(Box::new({ let (s, r) = tokio::sync::mpsc::unbounded_channel::<tokio::sync::oneshot::Receiver<Vec<u8>>>(); for _ in 0..1 { assert!(s.send({ let (s, r) = tokio::sync::oneshot::channel::<Vec<u8>>(); assert!(s.send({ let mut it = vec![2u8; 24]; it.truncate(3); it.shrink_to_fit(); it }).is_ok()); r }).is_ok()); } (s, r) })).await);
    1usize
}

async fn f9() -> usize {
    rest().await;
    1usize
}

async fn f8(arg0: &HashMap<u32, (BytesMut, HashMap<u32, Box<[u64; 100]>>)>) -> usize {
    black_box(f9().await);
    black_box(arg0);
    1usize
}

async fn f7(arg0: LinkedList<Vec<u8>>, arg1: Guard) -> usize {
    if black_box(false) { takes(arg0); }
    black_box(f8(&{ let it: HashMap<u32, (BytesMut, HashMap<u32, Box<[u64; 100]>>)> = (0..30u32).map(|n| (n, (BytesMut::with_capacity(1), (0..0u32).map(|n| (n, Box::new([7u64; 100]))).collect()))).collect(); it }).await);
    1usize
}

async fn f12(arg0: Weak<Mutex<Arc<Guard>>>) -> usize {
    rest().await;
    1usize
}

async fn f13(arg0: Vec<Shape>) -> usize {
    let a: (tokio::sync::mpsc::UnboundedSender<String>, tokio::sync::mpsc::UnboundedReceiver<String>) = black_box({ let (s, r) = tokio::sync::mpsc::unbounded_channel::<String>(); for _ in 0..0 { assert!(s.send(text(1)).is_ok()); } (s, r) });
    takes(arg0);
    let b: HashMap<u32, Shape>;
    if black_box(true) { b = (0..1u32).map(|n| (n, Shape::Named(text(1)))).collect(); }
    rest().await;
    black_box(&a);
    1usize
}

async fn f11(arg0: Vec<u8>) -> usize {
    let b: Box<[u64; 16]> = black_box(Box::new([7u64; 16]));
    let c: (tokio::sync::oneshot::Receiver<(tokio::sync::mpsc::UnboundedSender<Box<dyn Speak>>, tokio::sync::mpsc::UnboundedReceiver<Box<dyn Speak>>)>, Shape) = ({ let (s, r) = tokio::sync::oneshot::channel::<(tokio::sync::mpsc::UnboundedSender<Box<dyn Speak>>, tokio::sync::mpsc::UnboundedReceiver<Box<dyn Speak>>)>(); assert!(s.send({ let (s, r) = tokio::sync::mpsc::unbounded_channel::<Box<dyn Speak>>(); for _ in 0..1 { assert!(s.send((Box::new(text(700)) as Box<dyn Speak>)).is_ok()); } (s, r) }).is_ok()); r }, Shape::Nothing);
    if black_box(false) { takes(c.1); }
    if black_box(true) { takes(arg0); }
    let block = async move {
        let _ = &b;
        tokio::task::yield_now().await;
        match black_box(Some(Arc::downgrade(&Arc::new(Mutex::new(Arc::new(Guard(vec![3u8; 25]))))))).filter(|_: &Weak<Mutex<Arc<Guard>>>| black_box(false)) {
            Some(inside) => {
                black_box(f12(inside).await);
            }
            None => {
                black_box(future::join_all((0..1).map(|_| f13({ let mut it: Vec<Shape> = Vec::with_capacity(0); for _ in 0..3 { it.push(Shape::Named(text(3000))); } it }))).await.len());
            }
        }
        1usize
    };
    black_box(Box::pin(block).await);
    1usize
}

async fn f14(arg0: Vec<VecDeque<Bytes>>) -> usize {
    let c: Option<Box<dyn FnOnce() + Send + Sync>> = black_box(Some({ let it: Arc<u64> = Arc::new(23421786725); Box::new(move || takes(it)) as Box<dyn FnOnce() + Send + Sync> }));
    let b: Box<tokio::sync::oneshot::Receiver<Box<Vec<u8>>>> = black_box(Box::new({ let (s, r) = tokio::sync::oneshot::channel::<Box<Vec<u8>>>(); assert!(s.send(Box::new({ let mut it = vec![2u8; 60]; it.truncate(3); it.shrink_to_fit(); it })).is_ok()); r }));
    let _ = Some(b).take();
    if black_box(true) { takes(arg0); }
    rest().await;
    1usize
}

async fn f10(arg0: Vec<u8>) -> usize {
    black_box(future::join(f11(arg0), f14({ let mut it: Vec<VecDeque<Bytes>> = Vec::with_capacity(40); for _ in 0..0 { it.push({ let mut it: VecDeque<Bytes> = VecDeque::with_capacity(4); for n in 0..5 { it.push_back(Bytes::from(text(1025)).slice(0..0)); if n % 2 == 0 { it.pop_front(); } } it }); } it })).await);
    1usize
}

fn start(cases: &mut Cases, places: &[Place]) {
    cases.one(&places[0], "0 f1", f1());
    cases.one(&places[1], "1 f7", f7((0..1).map(|_| vec![1u8; 7]).collect(), Guard(vec![3u8; 25])));
    cases.one(&places[0], "2 f10", f10(vec![1u8; 130]));
}
