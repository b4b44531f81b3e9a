/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A program that knows its heap: several threads allocate, move and free blocks at random, each other's
 * too, and keep a list of all that live in a shared file.  At each stage all threads stand still and the list
 * is the truth.
 *
 *   heap_subject FILE SEED THREADS OPERATIONS [small|big|brk-fails|alone]
 *
 * Nothing here allocates but for the list.  Small: the sizes that fastbins and tcaches have; big: mostly
 * those with a mapping of their own; brk-fails: something stands in the way of the heap; alone: one thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "heap_subject.h"

enum { MAX_THREADS = 64, NR_ROUNDS = 4, MANY_FREES = 12 };

static struct heap_truth *truth;
static uint64_t nr_operations;
static const char *kind = "";
static pthread_barrier_t round_begins, round_ends;

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

static size_t random_size(uint64_t *random)
{
    uint64_t dice = random_next(random) % 1000, more = random_next(random);
    if (strcmp(kind, "small") == 0)
        return more % 180;
    if (strcmp(kind, "alone") == 0)
        return dice < 5 ? more % 300000 : more % 600;
    if (strcmp(kind, "big") == 0 && dice < 20)
        return 100000 + more % 3000000;
    if (dice < 700)
        return more % 400;
    if (dice < 950)
        return more % 3000;
    if (dice < 998)
        return more % 100000;
    return more % 4000000;
}

static void *allocate(uint64_t *random)
{
    size_t size = random_size(random);
    uint64_t dice = random_next(random) % 100;
    void *block = NULL;
    if (dice < 60)
        return malloc(size);
    if (dice < 80)
        return calloc(1, size);
    size_t align = (size_t)16 << random_next(random) % (dice == 99 ? 17 : 9);
    if (posix_memalign(&block, align, size) != 0)
        abort();
    return block;
}

static void set_slot(struct heap_truth_slot *slot, void *block, uint64_t *random)
{
    slot->addr = (uintptr_t)block;
    slot->size_bytes = block ? malloc_usable_size(block) : 0;
    /* What is left in memory is not zero: sizes and links of earlier blocks, and ours. */
    uint64_t value = random_next(random);
    for (size_t i = 0; i + 8 <= slot->size_bytes && i < 4096; i += 8)
        ((uint64_t *)block)[i / 8] = value % 3 ? value : (uintptr_t)block + i;
    if (slot->size_bytes >= 8) /* the last bytes are where the next chunk's header has its field */
        memcpy((char *)block + slot->size_bytes - 8, &value, 8);
}

static void change_slot(struct heap_truth_slot *slot, uint64_t *random)
{
    void *block = (void *)(uintptr_t)slot->addr;
    if (!block) {
        set_slot(slot, allocate(random), random);
    } else if (random_next(random) % 4 == 0) {
        size_t size = random_size(random);
        set_slot(slot, realloc(block, size ? size : 1), random);
    } else {
        free(block);
        set_slot(slot, NULL, random);
    }
}

static void operate(uint64_t *random)
{
    /* Runs of neighbours fill tcaches and fastbins. */
    size_t nr = random_next(random) % 8 == 0 ? MANY_FREES : 1;
    size_t first = random_next(random) % HEAP_SUBJECT_SLOTS;
    for (size_t i = 0; i < nr; i++) {
        struct heap_truth_slot *slot = &truth->slots[(first + i) % HEAP_SUBJECT_SLOTS];
        if (__atomic_exchange_n(&slot->lock, 1, __ATOMIC_ACQUIRE) == 0) {
            change_slot(slot, random);
            __atomic_store_n(&slot->lock, 0, __ATOMIC_RELEASE);
        }
    }
}

/* A thread's descriptor begins with a pointer to itself and one behind the first row of its dtv. */
static void note_thread(void)
{
    uint64_t block = ((uint64_t *)(uintptr_t)pthread_self())[1] - 16;
    for (uint64_t i = 0; i < truth->nr_own; i++)
        if (truth->own[i] == block)
            return;
    truth->own[__atomic_fetch_add(&truth->nr_own, 1, __ATOMIC_SEQ_CST) % 64] = block;
}

static void *work(void *context)
{
    note_thread();
    uint64_t random = (uint64_t)(uintptr_t)context;
    for (uint64_t i = 0; i < nr_operations; i++)
        operate(&random);
    return NULL;
}

/* Every round has the same number of threads at its end, some of them new. */
static void *work_and_stay(void *context)
{
    uint64_t random = (uint64_t)(uintptr_t)context;
    note_thread();
    for (;;) {
        pthread_barrier_wait(&round_begins);
        for (uint64_t i = 0; i < nr_operations; i++)
            operate(&random);
        pthread_barrier_wait(&round_ends);
    }
    return NULL;
}

static void stand_still(void)
{
#if __GLIBC_PREREQ(2, 33)
    struct mallinfo2 info = mallinfo2();
    truth->arena_bytes = info.arena;
    truth->mapped_bytes = info.hblkhd;
    truth->used_bytes = info.uordblks;
#endif
    uint64_t stage = __atomic_add_fetch(&truth->stage, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&truth->go, __ATOMIC_SEQ_CST) < stage)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void run_round(unsigned round, uint64_t seed)
{
    static const int thresholds[] = {128 << 10, 1 << 20, 32 << 10, 256 << 10};
    pthread_t passing;
    if (round > 0)
        mallopt(M_MMAP_THRESHOLD, thresholds[round % 4]);
    if (strcmp(kind, "small") == 0)
        mallopt(M_MXFAST, 160);
    pthread_barrier_wait(&round_begins);
    /* One that comes, works and goes. */
    if (strcmp(kind, "alone") != 0) {
        if (pthread_create(&passing, NULL, work, (void *)(uintptr_t)(seed + round * 977 + 5)) != 0)
            abort();
        pthread_join(passing, NULL);
    }
    uint64_t random = seed * 31 + round + 1;
    for (uint64_t i = 0; i < nr_operations; i++)
        operate(&random);
    pthread_barrier_wait(&round_ends);
}

/* brk cannot grow the heap where something is mapped right behind it. */
static void stop_brk(void)
{
    char *end = sbrk(0);
    uintptr_t behind = ((uintptr_t)end + 4095) & ~(uintptr_t)4095;
    if (mmap((void *)behind, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
             0) == MAP_FAILED)
        abort();
}

int main(int argc, char **argv)
{
    int fd = argc >= 5 ? open(argv[1], O_RDWR) : -1;
    truth = fd >= 0 ? mmap(NULL, sizeof(*truth), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                    : MAP_FAILED;
    if (truth == MAP_FAILED)
        return 2;
    uint64_t seed = strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15ULL + 1;
    unsigned nr_threads = (unsigned)atoi(argv[3]);
    nr_operations = strtoull(argv[4], NULL, 10);
    kind = argc > 5 ? argv[5] : "";
    if (nr_threads >= MAX_THREADS)
        return 2;
    void *volatile first = malloc(1); /* the main thread's tcache is there from now on */
    free(first);
    stand_still();
    if (strcmp(kind, "brk-fails") == 0)
        stop_brk();
    pthread_barrier_init(&round_begins, NULL, nr_threads + 1);
    pthread_barrier_init(&round_ends, NULL, nr_threads + 1);
    for (unsigned i = 0; i < nr_threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work_and_stay, (void *)(uintptr_t)(seed + i * 7919 + 3)))
            abort();
    }
    truth->nr_threads = nr_threads + 1;
    for (unsigned round = 0; round < NR_ROUNDS; round++) {
        run_round(round, seed);
        stand_still();
    }
    return 0;
}
