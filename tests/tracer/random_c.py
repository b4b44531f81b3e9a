# SPDX-License-Identifier: MIT OR Apache-2.0
"""Random C programs whose functions have all kinds of frames, and which allocate in each of them.

A function is plain, has an alloca of random size, an over-aligned local (its caller's sp is in memory), a large
frame, many arguments on the stack, or ends in a tail call; it calls others directly, through pointers, or
through qsort.  With signals: some raise one, whose handler allocates, on the thread's stack or on another.
"""

import random

HEAD = """
#include <alloca.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __clang__
#define POINTER
#define NO_POINTER
#else
#define POINTER __attribute__((optimize("no-omit-frame-pointer")))
#define NO_POINTER __attribute__((optimize("omit-frame-pointer")))
#endif
static uint64_t state = SEED;
static long left;
static void *volatile kept[64];
static volatile char sink;
static unsigned next(void)
{
    state ^= state << 13; state ^= state >> 7; state ^= state << 17;
    return (unsigned)(state >> 33);
}
static void give(void)
{
    unsigned i = next() % 64;
    free(kept[i]);
    kept[i] = next() % 4 ? malloc(next() % 300) : calloc(1, next() % 300);
}
static int compare(const void *a, const void *b)
{
    if (next() % 8 == 0)
        give();
    return *(const int *)a - *(const int *)b;
}
typedef long (*function)(int, long);
extern const function all[NR];
static long use(char *bytes, size_t nr) { bytes[next() % nr] = 1; sink = bytes[nr - 1]; return bytes[0]; }
"""

SIGNALS = """
static void handler(int number)
{
    give();
    if (number == SIGUSR1 && next() % 4 == 0)
        all[next() % NR](60, 0);
}
static void set_signals(void)
{
    static char other[65536];
    stack_t stack = {.ss_sp = other, .ss_size = sizeof(other)};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR2, &action, NULL);
}
static void maybe_signal(void)
{
    if (next() % 6 == 0)
        raise(next() % 2 ? SIGUSR1 : SIGUSR2);
}
"""


class Program:
    def __init__(self, seed, signals, functions=60):
        self.random = random.Random(seed)
        self.seed, self.signals, self.functions = seed, signals, functions

    def call(self):
        """An expression that calls another function, one level deeper."""
        kind = self.random.randrange(3)
        number = self.random.randrange(self.functions)
        if kind == 0:
            return f"all[next() % NR](depth + 1, {number})"
        return f"f{number}(depth + 1, value + {kind})"

    def body(self, kind):
        lines = []
        if kind == "alloca":
            lines.append("size_t nr = 1 + next() % 700; char *bytes = alloca(nr); value += use(bytes, nr);")
        elif kind == "aligned":
            align = self.random.choice([32, 64, 128])
            lines.append(f"_Alignas({align}) char bytes[{align * 2}]; value += use(bytes, sizeof(bytes));")
        elif kind == "both":
            lines.append("_Alignas(64) char bytes[64]; value += use(bytes, 64);"
                         "size_t nr = 1 + next() % 300; char *more = alloca(nr); value += use(more, nr);")
        elif kind == "large":
            size = self.random.choice([5000, 20000, 70000])
            lines.append(f"char bytes[{size}]; value += use(bytes, sizeof(bytes));")
        elif kind == "sort":
            lines.append("int rows[9]; for (int i = 0; i < 9; i++) rows[i] = (int)next();"
                         "qsort(rows, 9, sizeof(*rows), compare); value += rows[0];")
        lines.append("give();")
        if self.signals and self.random.random() < 0.4:
            lines.append("maybe_signal();")
        lines.append("if (depth >= 40 || --left < 0) return value;")
        for _ in range(self.random.randint(1, 2)):
            lines.append(f"value += {self.call()};")
            if self.random.random() < 0.5:
                lines.append("give();")
        return lines

    def function(self, number):
        kind = self.random.choice(["plain", "plain", "alloca", "aligned", "both", "large", "sort", "tail", "many"])
        # Code with and without frame pointers in one stack, as where a library meets a program (gcc only).
        frame = self.random.choice(["", "POINTER ", "NO_POINTER "])
        head = f"__attribute__((noinline)) {frame}{{}}long f{number}(int depth, long value)"
        static = "static " if self.random.random() < 0.3 else ""
        lines = self.body(kind)
        if kind == "many":
            lines.append("value += many(depth + 1, value, 3, 4, 5, 6, 7, 8, 9);")
        tail = f"return {self.call()};" if kind == "tail" else "return value + depth;"
        return head.format(static) + "\n{\n    " + "\n    ".join(lines + [tail]) + "\n}\n", static

    def text(self):
        functions = [self.function(i) for i in range(self.functions)]
        parts = [f"#define SEED {self.seed * 7919 + 1}ULL\n#define NR {self.functions}\n", HEAD]
        parts += [f"{static}long f{i}(int, long);" for i, (_, static) in enumerate(functions)]
        if self.signals:
            parts.append(SIGNALS)
        parts.append("__attribute__((noinline)) static long many(int depth, long a, long b, long c, long d, long e,"
                     " long f, long g, long h)\n{ give(); return depth < 40 && --left > 0 ?"
                     " all[next() % NR](depth + 1, a + b + c + d) + e + f + g + h : a; }\n")
        parts += [body for body, _ in functions]
        names = ", ".join(f"f{i}" for i in range(self.functions))
        parts.append(f"const function all[NR] = {{{names}}};")
        parts.append("int main(int argc, char **argv)\n{\n    long rounds = argc > 1 ? atol(argv[1]) : 100, sum = 0;")
        if self.signals:
            parts.append("    set_signals();")
        parts.append("    while (rounds-- > 0) { left = 300; sum += all[next() % NR](0, rounds); }\n"
                     "    printf(\"%ld\\n\", sum);\n}\n")
        return "\n".join(parts)
