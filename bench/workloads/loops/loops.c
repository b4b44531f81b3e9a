/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Loops that do hardly anything but allocate, in C: `loops MODE PAIRS [hold]`.
 *
 *   constant   24 frames deep, always the same stack; each block is freed at once
 *   tree       depth first over a tree of 5000 calls, 10 to 40 deep, 4 blocks of five sizes at each; 1000 alive
 *   live       the same with 1 M alive
 *   jump       from the root to a random leaf before each block, 1 M alive of two sizes: no two stacks
 *              alike
 *   ring       one thread allocates, another frees
 *
 * PAIRS are of malloc and free.  With `hold` it says at the end how many bytes libc has given, and waits with all
 * that is alive for the end of stdin; eight threads that have allocated wait with it.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    NR_NODES = 5000,
    NR_FEW = 1000,
    NR_MANY = 1 << 20,
    RING_SLOTS = 1024,
    DEPTH = 24,
    MAX_DEPTH = 40
};

struct node {
    unsigned first_child, next; /* 0: none */
    unsigned parent, depth, function;
};

static struct node nodes[NR_NODES];
static unsigned nr_nodes;
static void **blocks;
static unsigned nr_blocks;
static long pairs_left;
static bool has_few_sizes;
static uint64_t random_state = 88172645463325252u;

static uint64_t random_number(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/*
 * Powers of two: with sizes between them heaptrack's interpreter grows to 19 GB, in a hash table; with all five
 * of them it does when stacks are random, and ends.
 */
static size_t some_bytes(uint64_t number)
{
    return has_few_sizes ? (size_t)64 << number % 2 : (size_t)16 << number % 5;
}

static void replace_block(void)
{
    uint64_t number = random_number();
    void **place = &blocks[number % nr_blocks];
    free(*place);
    *place = malloc(some_bytes(number >> 32));
    *(volatile char *)*place = 1;
    pairs_left--;
}

/* --- the tree: functions that call each other from four places ----------------------------------- */

typedef void visit(unsigned node, const unsigned *path);
static visit *const visits[16];

static void at_node(unsigned node, const unsigned *path)
{
    if (path)
        return;
    for (int i = 0; i < 4 && pairs_left > 0; i++)
        replace_block();
    (void)node;
}

/* The calls stand in different places, so that each child of a node has a return address of its own. */
#define VISIT(number)                                                                              \
    static __attribute__((noinline)) void visit_##number(unsigned node, const unsigned *path)      \
    {                                                                                              \
        volatile unsigned here = node;                                                             \
        unsigned child = path ? *path : nodes[node].first_child;                                   \
        at_node(node, path);                                                                       \
        for (unsigned place = 0; child; child = path ? 0 : nodes[child].next, place++) {           \
            const unsigned *rest = path ? path + 1 : NULL;                                         \
            switch ((path ? child : place) % 4) {                                                  \
            case 0:                                                                                \
                visits[nodes[child].function](child, rest);                                        \
                here += 1;                                                                         \
                break;                                                                             \
            case 1:                                                                                \
                visits[nodes[child].function](child, rest);                                        \
                here += 2;                                                                         \
                break;                                                                             \
            case 2:                                                                                \
                visits[nodes[child].function](child, rest);                                        \
                here += 3;                                                                         \
                break;                                                                             \
            default:                                                                               \
                visits[nodes[child].function](child, rest);                                        \
                here += 4;                                                                         \
            }                                                                                      \
        }                                                                                          \
        if (path && !*path)                                                                        \
            replace_block();                                                                       \
    }
VISIT(0)
VISIT(1)
VISIT(2)
VISIT(3)
VISIT(4)
VISIT(5)
VISIT(6)
VISIT(7)
VISIT(8)
VISIT(9)
VISIT(10)
VISIT(11)
VISIT(12)
VISIT(13)
VISIT(14)
VISIT(15)
#undef VISIT
static visit *const visits[16] = {visit_0,  visit_1,  visit_2,  visit_3, visit_4,  visit_5,
                                  visit_6,  visit_7,  visit_8,  visit_9, visit_10, visit_11,
                                  visit_12, visit_13, visit_14, visit_15};

/* Paths of 10 to 40 calls, each from a node that is there already. */
static void grow_tree(void)
{
    nr_nodes = 2; /* 0 is none, 1 the root */
    while (nr_nodes < NR_NODES) {
        unsigned at = 1 + (unsigned)(random_number() % (nr_nodes - 1));
        unsigned goal = 10 + (unsigned)(random_number() % (MAX_DEPTH - 9));
        while (nodes[at].depth < goal && nr_nodes < NR_NODES) {
            unsigned made = nr_nodes++;
            nodes[made] = (struct node){.next = nodes[at].first_child,
                                        .parent = at,
                                        .depth = nodes[at].depth + 1,
                                        .function = (unsigned)(random_number() % 16)};
            nodes[at].first_child = made;
            at = made;
        }
    }
}

static void walk_tree(void)
{
    while (pairs_left > 0)
        visits[0](1, NULL);
}

static void jump(void)
{
    unsigned path[MAX_DEPTH + 2];
    while (pairs_left > 0) {
        unsigned leaf = 1 + (unsigned)(random_number() % (nr_nodes - 1));
        unsigned depth = nodes[leaf].depth;
        path[depth] = 0;
        for (unsigned at = leaf; nodes[at].depth; at = nodes[at].parent)
            path[nodes[at].depth - 1] = at;
        visits[0](1, path);
    }
}

/* --- the others ----------------------------------------------------------------------------------- */

static __attribute__((noinline)) int constant(int depth)
{
    volatile int here = depth;
    if (depth > 0)
        return constant(depth - 1) + here;
    for (; pairs_left > 0; pairs_left--) {
        void *volatile block = malloc(64);
        free(block);
    }
    return here;
}

static void *volatile ring[RING_SLOTS];

static void *free_all(void *data)
{
    long nr = *(const long *)data;
    for (long i = 0; i < nr; i++) {
        void *volatile *slot = &ring[i % RING_SLOTS];
        void *block;
        while (
            !(block = __atomic_exchange_n(slot, NULL, __ATOMIC_ACQUIRE))) /* pairs with pass_on */
            sched_yield();
        free(block);
    }
    return NULL;
}

static void pass_on(void)
{
    long nr = pairs_left;
    pthread_t thread;
    if (pthread_create(&thread, NULL, free_all, &nr))
        exit(1);
    for (long i = 0; i < nr; i++) {
        void *volatile *slot = &ring[i % RING_SLOTS];
        while (__atomic_load_n(slot, __ATOMIC_RELAXED))
            sched_yield();
        __atomic_store_n(slot, malloc(64), __ATOMIC_RELEASE); /* pairs with free_all */
    }
    pthread_join(thread, NULL);
}

static void *hold_one(void *data)
{
    void *volatile block = malloc(100);
    (void)data;
    pause();
    return block;
}

static void hold(void)
{
    for (int i = 0; i < 8; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, hold_one, NULL))
            exit(1);
    }
    for (unsigned i = 0; i < nr_blocks; i++) {
        if (!blocks[i])
            blocks[i] = malloc(some_bytes(random_number()));
    }
    struct mallinfo2 info = mallinfo2();
    printf("%zu\n", info.uordblks + info.hblkhd);
    fflush(stdout);
    while (getchar() != EOF)
        ;
}

static void run(const char *mode)
{
    bool is_few = strcmp(mode, "tree") == 0;
    has_few_sizes = strcmp(mode, "jump") == 0;
    nr_blocks = is_few ? NR_FEW : NR_MANY;
    blocks = calloc(nr_blocks, sizeof(*blocks));
    grow_tree();
    if (is_few || strcmp(mode, "live") == 0)
        walk_tree();
    else if (strcmp(mode, "jump") == 0)
        jump();
    else if (strcmp(mode, "constant") == 0)
        constant(DEPTH);
    else if (strcmp(mode, "ring") == 0)
        pass_on();
    else
        exit(2);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    pairs_left = strtol(argv[2], NULL, 10);
    run(argv[1]);
    if (argc > 3)
        hold();
    return 0;
}
