#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes random programs for tests/programs/random: nested futures and containers, moves, drops, shadows.

    random_programs.py SEED COUNT > FILE

Each program is an async fn with those that it calls; it rests at an await, with some of its variables moved
out, dropped, forgotten, never set or shadowed, as run-time values say that the compiler cannot see. The
same seed gives the same programs. One in ten is two tasks that share an Arc.
"""

import random
import sys

NAMES = ["a", "b", "c", "d"]
MAX_VALUE_DEPTH, MAX_CALL_DEPTH = 3, 3


class Values:
    """Random types, each with an expression that makes one."""

    def __init__(self, dice):
        self.dice = dice

    def size(self):
        return self.dice.choice([0, 1, 7, 24, 25, 60, 130, 700, 1025, 3000, 20000])

    def make(self, depth=0):
        """(type, expression)"""
        leaves = [self.bytes, self.text, self.array, self.guard, self.speaker, self.shape, self.shared_bytes, self.number]
        nests = [self.boxed, self.vec, self.option, self.pair, self.map, self.tree, self.deque, self.list, self.arc,
                 self.arc_mutex, self.result, self.clones, self.channel, self.oneshot, self.closure, self.weak]
        if depth >= MAX_VALUE_DEPTH or self.dice.random() < 0.25 + 0.2 * depth:
            return self.dice.choice(leaves)()
        return self.dice.choice(nests)(depth + 1)

    def bytes(self):
        kind = self.dice.randrange(3)
        size = self.size()
        return "Vec<u8>", [f"vec![1u8; {size}]", f"Vec::<u8>::with_capacity({size})",
                           f"{{ let mut it = vec![2u8; {size}]; it.truncate(3); it.shrink_to_fit(); it }}"][kind]

    def text(self):
        return "String", f"text({self.size()})"

    def array(self):
        size = self.dice.choice([1, 16, 100, 513])
        return f"Box<[u64; {size}]>", f"Box::new([7u64; {size}])"

    def guard(self):
        return "Guard", f"Guard(vec![3u8; {self.size()}])"

    def speaker(self):
        made = self.dice.choice([self.guard, self.text])()[1]
        return "Box<dyn Speak>", f"(Box::new({made}) as Box<dyn Speak>)"

    def shape(self):
        size = self.size()
        return "Shape", self.dice.choice([
            "Shape::Nothing", f"Shape::Named(text({size}))", f"Shape::Nested(Box::new(Shape::Named(text({size}))))",
            f"Shape::Many {{ items: vec![1; {size}], name: text({self.size()}).into() }}"])

    def shared_bytes(self):
        size = self.size()
        return self.dice.choice([
            ("Bytes", f"Bytes::from(vec![1u8; {size}])"), ("Bytes", f"Bytes::from(text({size})).slice(0..0)"),
            ("Bytes", "Bytes::from_static(b\"static\")"), ("BytesMut", f"BytesMut::with_capacity({size})"),
            ("(Bytes, Bytes)", f"{{ let it = Bytes::from(vec![1u8; {size + 9}]); (it.slice(3..7), it) }}"),
            ("(BytesMut, BytesMut)", f"{{ let mut it = BytesMut::zeroed({size + 9}); (it.split_to(4), it) }}")])

    def number(self):
        return "u64", str(self.dice.randrange(1 << 40))

    def boxed(self, depth):
        of, made = self.make(depth)
        return f"Box<{of}>", f"Box::new({made})"

    def vec(self, depth):
        of, made = self.make(depth)
        count, spare = self.dice.choice([0, 1, 3, 17]), self.dice.choice([0, 0, 40])
        return f"Vec<{of}>", (f"{{ let mut it: Vec<{of}> = Vec::with_capacity({spare}); "
                              f"for _ in 0..{count} {{ it.push({made}); }} it }}")

    def option(self, depth):
        of, made = self.make(depth)
        return f"Option<{of}>", self.dice.choice([f"Some({made})", f"Some({made})", f"None::<{of}>"])

    def pair(self, depth):
        (one, first), (two, second) = self.make(depth), self.make(depth)
        return f"({one}, {two})", f"({first}, {second})"

    def collected(self, depth, collection, counts):
        of, made = self.make(depth)
        return f"{collection}<u32, {of}>", f"(0..{self.dice.choice(counts)}u32).map(|n| (n, {made})).collect()"

    def map(self, depth):
        return self.collected(depth, "HashMap", [0, 1, 5, 30])

    def tree(self, depth):
        return self.collected(depth, "BTreeMap", [0, 1, 11, 12, 50])

    def deque(self, depth):
        of, made = self.make(depth)
        return f"VecDeque<{of}>", (f"{{ let mut it: VecDeque<{of}> = VecDeque::with_capacity(4); for n in 0..5 {{ "
                                   f"it.push_back({made}); if n % 2 == 0 {{ it.pop_front(); }} }} it }}")

    def list(self, depth):
        of, made = self.make(depth)
        return f"LinkedList<{of}>", f"(0..{self.dice.randrange(5)}).map(|_| {made}).collect()"

    def arc(self, depth):
        of, made = self.make(depth)
        return f"Arc<{of}>", f"Arc::new({made})"

    def arc_mutex(self, depth):
        of, made = self.make(depth)
        return f"Arc<Mutex<{of}>>", f"Arc::new(Mutex::new({made}))"

    def clones(self, depth):
        of, made = self.make(depth)
        return f"Vec<Arc<Mutex<{of}>>>", f"vec![Arc::new(Mutex::new({made})); {self.dice.choice([1, 2, 5])}]"

    def weak(self, depth):
        of, made = self.make(depth)
        weak, arc = f"Weak<Mutex<{of}>>", f"Arc<Mutex<{of}>>"
        return self.dice.choice([
            (weak, f"Arc::downgrade(&Arc::new(Mutex::new({made})))"),
            (f"({arc}, {weak})", f"{{ let it = Arc::new(Mutex::new({made})); let w = Arc::downgrade(&it); (it, w) }}"),
            (f"({weak}, {arc})", f"{{ let it = Arc::new(Mutex::new({made})); let w = Arc::downgrade(&it); (w, it) }}")])

    def result(self, depth):
        of, made = self.make(depth)
        return f"Result<{of}, String>", self.dice.choice([f"Ok({made})", f"Err(text({self.size()}))"])

    def channel(self, depth):
        of, made = self.make(depth)
        ends = f"(tokio::sync::mpsc::UnboundedSender<{of}>, tokio::sync::mpsc::UnboundedReceiver<{of}>)"
        return ends, (f"{{ let (s, r) = tokio::sync::mpsc::unbounded_channel::<{of}>(); "
                      f"for _ in 0..{self.dice.choice([0, 1, 40])} {{ assert!(s.send({made}).is_ok()); }} (s, r) }}")

    def oneshot(self, depth):
        of, made = self.make(depth)
        return f"tokio::sync::oneshot::Receiver<{of}>", (
            f"{{ let (s, r) = tokio::sync::oneshot::channel::<{of}>(); assert!(s.send({made}).is_ok()); r }}")

    def closure(self, depth):
        of, made = self.make(depth)
        return "Box<dyn FnOnce() + Send + Sync>", f"{{ let it: {of} = {made}; Box::new(move || takes(it)) as Box<dyn FnOnce() + Send + Sync> }}"


class Scope:
    """Variables that can be named, by name; each is its type. What may have been moved is not here."""

    def __init__(self):
        self.live = {}

    def copy(self):
        made = Scope()
        made.live = dict(self.live)
        return made


class Programs:
    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.values = Values(self.dice)
        self.functions, self.nr_functions = [], 0

    def condition(self):
        return f"black_box({self.dice.choice(['true', 'false'])})"

    # --- statements: each returns lines and changes the scope ---

    def declare(self, scope, of=None, made=None):
        if of is None:
            of, made = self.values.make()
        name = self.dice.choice(NAMES)
        scope.live[name] = of
        return [f"let {name}: {of} = black_box({made});"]

    def pick(self, scope):
        return self.dice.choice(sorted(scope.live)) if scope.live else None

    def move(self, scope):
        name = self.pick(scope)
        if not name:
            return []
        del scope.live[name]
        return [self.dice.choice([f"drop({name});", f"takes({name});", f"let _ = Some({name}).take();"])]

    def move_perhaps(self, scope):
        name = self.pick(scope)
        if not name:
            return []
        del scope.live[name]
        return [f"if {self.condition()} {{ takes({name}); }}"]

    def set_perhaps(self, scope):
        of, made = self.values.make()
        name = self.dice.choice(NAMES)
        scope.live.pop(name, None)
        return [f"let {name}: {of};", f"if {self.condition()} {{ {name} = {made}; }}"]

    def replace(self, scope):
        of, made = self.values.make()
        name = self.dice.choice(NAMES)
        scope.live[name] = of
        return [f"let mut {name}: {of} = {made};", f"if {self.condition()} {{ {name} = {made}; }}"]

    def forget(self, scope):
        name = self.pick(scope)
        if not name or self.dice.random() < 0.6:
            return []
        del scope.live[name]
        return [f"std::mem::forget({name});"]

    def take(self, scope):
        of, made = self.values.make()
        name = self.dice.choice(NAMES)
        scope.live[name] = f"Option<{of}>"
        return [f"let mut {name}: Option<{of}> = Some({made});",
                f"if {self.condition()} {{ drop({name}.take()); }}"]

    def part(self, scope):
        (one, first), (two, second) = self.values.make(1), self.values.make(1)
        name = self.dice.choice(NAMES)
        scope.live.pop(name, None)
        which = self.dice.randrange(2)
        moving = f"takes({name}.{which});"
        if self.dice.random() < 0.5:
            moving = f"if {self.condition()} {{ {moving} }}"
        return [f"let {name}: ({one}, {two}) = ({first}, {second});", moving]

    def pause(self, scope):
        return ["tokio::task::yield_now().await;"]

    def hold_future(self, scope, depth):
        if depth >= MAX_CALL_DEPTH:
            return []
        call = self.call(scope, depth)
        kind = self.dice.randrange(3)
        if kind == 0:
            return [f"let held = {call};"]
        if kind == 1:
            return [f"let held: BoxFuture<'static, usize> = {call}.boxed();"]
        return [f"let mut held = Box::pin({call});", "assert!(futures::poll!(&mut held).is_pending());"]

    # --- how it rests ---

    def call(self, scope, depth):
        """A call of a new function that takes some variables of the scope, and values."""
        arguments, types = [], []
        for name in sorted(scope.live):
            if self.dice.random() < 0.4:
                types.append(scope.live.pop(name))
                arguments.append(name)
        if self.dice.random() < 0.4:
            of, made = self.values.make()
            types.append(of)
            arguments.append(made)
        return f"{self.function(types, depth + 1)}({', '.join(arguments)})"

    def awaits(self, scope, depth):
        """Lines that end at rest."""
        if depth >= MAX_CALL_DEPTH or self.dice.random() < 0.2:
            return ["rest().await;"]
        kinds = [self.plain, self.plain, self.in_a_box, self.joined, self.selected, self.unordered, self.all_joined,
                 self.block, self.matched, self.lent, self.looped, self.temporary]
        return self.dice.choice(kinds)(scope, depth)

    def plain(self, scope, depth):
        return [f"black_box({self.call(scope, depth)}.await);"]

    def in_a_box(self, scope, depth):
        call = self.call(scope, depth)
        return [self.dice.choice([f"black_box(Box::pin({call}).await);", f"black_box({call}.boxed().await);",
                                  f"let it: BoxFuture<'static, usize> = Box::pin({call}); black_box(it.await);"])]

    def joined(self, scope, depth):
        one, two = self.call(scope, depth), self.call(scope, depth)
        return [self.dice.choice([f"black_box(tokio::join!({one}, {two}));", f"black_box(future::join({one}, {two}).await);"])]

    def selected(self, scope, depth):
        one, two = self.call(scope, depth), self.call(scope, depth)
        return ["tokio::select! {", f"    it = {one} => {{ black_box(it); }}", f"    it = {two} => {{ black_box(it); }}", "}"]

    def unordered(self, scope, depth):
        calls = [self.call(scope, depth) for _ in range(self.dice.choice([1, 2]))]
        kind = self.dice.choice(["FuturesUnordered", "FuturesUnordered", "FuturesOrdered"])
        push = "push_back" if kind == "FuturesOrdered" else "push"
        pushes = [f"set.{push}({call}.boxed());" for call in calls]
        has_ended = kind == "FuturesUnordered" and self.dice.random() < 0.5
        ended = ["set.push(async { 1usize }.boxed());"] if has_ended else []
        return [f"let mut set: {kind}<BoxFuture<'static, usize>> = {kind}::new();", *pushes, *ended,
                "while let Some(one) = set.next().await { black_box(one); }"]

    def all_joined(self, scope, depth):
        of, made = self.values.make(1)
        function = self.function([of], depth + 1)
        count = self.dice.choice([1, 3, 35])
        return [f"black_box(future::join_all((0..{count}).map(|_| {function}({made}))).await.len());"]

    def block(self, scope, depth):
        captured = [name for name in sorted(scope.live) if self.dice.random() < 0.5]
        inner = Scope()
        for name in captured:
            inner.live[name] = scope.live.pop(name)
        uses = [f"let _ = &{name};" for name in captured]
        lines = uses + self.body(inner, depth + 1)
        closing = "black_box(block.await);"
        if self.dice.random() < 0.4:
            closing = "black_box(Box::pin(block).await);"
        return ["let block = async move {", *["    " + line for line in lines], "};", closing]

    def matched(self, scope, depth):
        of, made = self.values.make()
        one, two = scope.copy(), scope.copy()
        one.live["inside"] = of
        some, none = self.awaits(one, depth), self.awaits(two, depth)
        scope.live.clear()
        return [f"match black_box(Some({made})).filter(|_: &{of}| {self.condition()}) {{", "    Some(inside) => {",
                *["        " + line for line in some], "    }", "    None => {", *["        " + line for line in none],
                "    }", "}"]

    def lent(self, scope, depth):
        of, made = self.values.make()
        function = self.function([f"&{of}"], depth + 1)
        name = self.dice.choice(NAMES)
        scope.live[name] = of
        return [f"let {name}: {of} = {made};", f"black_box({function}(&{name}).await);"]

    def temporary(self, scope, depth):
        of, made = self.values.make()
        return [f"black_box({self.function([f'&{of}'], depth + 1)}(&{{ let it: {of} = {made}; it }}).await);"]

    def looped(self, scope, depth):
        of, made = self.values.make()
        inner = Scope()
        inner.live["item"] = of
        body = self.awaits(inner, depth)
        return [f"let items: Vec<{of}> = vec![{made}, {made}, {made}];", "for item in items {",
                f"    if {self.condition()} {{ tokio::task::yield_now().await; }}", *["    " + line for line in body], "}"]

    # --- functions ---

    def body(self, scope, depth):
        statements = [self.declare] * 4 + [self.move, self.move_perhaps, self.move_perhaps, self.set_perhaps, self.replace,
                                           self.forget, self.take, self.part, self.pause]
        lines = []
        for _ in range(self.dice.randrange(6)):
            lines += self.dice.choice(statements)(scope)
        if self.dice.random() < 0.15:
            lines += self.hold_future(scope, depth)
        lines += self.awaits(scope, depth)
        for name in sorted(scope.live):
            if self.dice.random() < 0.5:
                lines.append(f"black_box(&{name});")
        return lines + ["1usize"]

    def function(self, types, depth):
        """Makes a function; its name."""
        self.nr_functions += 1
        name = f"f{self.nr_functions}"
        scope = Scope()
        arguments = []
        for number, of in enumerate(types):
            argument = f"arg{number}"
            arguments.append(f"{argument}: {of}")
            if not of.startswith("&"):
                scope.live[argument] = of
        lines = self.body(scope, depth)
        kept = [f"    black_box({argument.split(':')[0]});" for argument in arguments if ": &" in argument]
        text = [f"async fn {name}({', '.join(arguments)}) -> usize {{", *["    " + line for line in lines[:-1]], *kept,
                "    1usize", "}", ""]
        self.functions.append("\n".join(text))
        return name

    def program(self, number):
        """The lines that start it."""
        place = f"&places[{self.dice.randrange(2)}]"
        if self.dice.random() < 0.1:
            of, made = self.values.make()
            one, two = self.function([f"Arc<Mutex<{of}>>"], 0), self.function([f"Arc<Mutex<{of}>>"], 0)
            return [f"cases.group(\"pair {number} {one} {two}\", |case| {{",
                    f"    let shared: Arc<Mutex<{of}>> = Arc::new(Mutex::new({made}));",
                    f"    let other = shared.clone();",
                    f"    case.start(|| ({place}).spawn({one}(shared)));",
                    f"    case.start(|| ({place}).spawn({two}(other)));", "    case.shares_something();", "});"]
        types, arguments = [], []
        for _ in range(self.dice.randrange(3)):
            of, made = self.values.make()
            types.append(of)
            arguments.append(made)
        name = self.function(types, 0)
        # Most in a box: each type of task takes long to compile.
        box = self.dice.choice(["", ".boxed()", ".boxed()", ".boxed()"])
        return [f"cases.one({place}, \"{number} {name}\", {name}({', '.join(arguments)}){box});"]


def source(seed, count):
    """The Rust source of `count` programs."""
    programs = Programs(seed)
    starts = [line for number in range(count) for line in programs.program(number)]
    return "\n".join([f"// {count} programs of the seed {seed}, made by tests/snapshot/random_programs.py.", "",
                      *programs.functions, "fn start(cases: &mut Cases, places: &[Place]) {",
                      *["    " + line for line in starts], "}", ""])


if __name__ == "__main__":
    sys.stdout.write(source(int(sys.argv[1]), int(sys.argv[2])))
