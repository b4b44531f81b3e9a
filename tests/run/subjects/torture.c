/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A program that does to a tracer what programs do: `torture MODE [AMOUNT [FILE]]`.  Each mode is a row of
 * the table at the end (those with other processes are in torture_processes.c, those with
 * signals in torture_signals.c) and prints a result
 * that is the same in every run, traced or not.  Blocks are written and read, so that a block that was
 * given twice, or moved wrong, changes the result.
 */
#include "torture.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NR_SLOTS = 64, NR_AT_ONCE = 50, SMALL_STACK_BYTES = 16384 };

uint64_t torture_made, torture_gone;

/* Known to nobody but the linker, so that no pair of calls is optimised away. */
void *volatile torture_sink;
/* Sizes that no allocator has, unknown to the compiler too. */
static volatile size_t half_of_all = SIZE_MAX / 2;
static int *volatile nowhere = (int *)8;

void torture_check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "torture: %s\n", what);
    _exit(99);
}

/* --- all kinds of allocations ------------------------------------------------------------------- */

struct slot {
    unsigned char *block;
    size_t nr_bytes;
};

void torture_count(uint64_t *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void fill(struct slot *slot, uint64_t value)
{
    torture_check(slot->block != NULL, "no memory");
    slot->block[0] = (unsigned char)value;
    slot->block[slot->nr_bytes - 1] = (unsigned char)value;
}

static void *make(uint64_t kind, size_t nr_bytes)
{
    void *block = NULL;
    switch (kind % 8) {
    case 0:
        return calloc(1, nr_bytes);
    case 1:
        return memalign(64, nr_bytes);
    case 2:
        return posix_memalign(&block, 128, nr_bytes) == 0 ? block : NULL;
    case 3:
        return aligned_alloc(16, nr_bytes);
    case 4:
        return reallocarray(NULL, 1, nr_bytes);
    default:
        return malloc(nr_bytes);
    }
}

uint64_t torture_churn(unsigned long nr_events, uint64_t seed)
{
    struct slot slots[NR_SLOTS] = {{NULL, 0}};
    uint64_t state = seed * 2654435761u + 88172645463325252u, sum = 0;
    for (unsigned long i = 0; i < nr_events; i++) {
        uint64_t number = torture_random(&state);
        struct slot *slot = &slots[number % NR_SLOTS];
        size_t nr_bytes = 1 + (number >> 8) % (number & 0x4000 ? 4000 : 100);
        if (!slot->block) {
            *slot = (struct slot){make(number >> 32, nr_bytes), nr_bytes};
            torture_count(&torture_made);
            fill(slot, number >> 40);
            continue;
        }
        sum = sum * 31 + slot->block[0];
        if (number & 0x8000) {
            unsigned char first = slot->block[0];
            *slot = (struct slot){realloc(slot->block, nr_bytes), nr_bytes};
            torture_count(&torture_made);
            torture_count(&torture_gone);
            torture_check(slot->block && slot->block[0] == first, "realloc lost the first byte");
            fill(slot, first);
        } else {
            free(slot->block);
            slot->block = NULL;
            torture_count(&torture_gone);
        }
    }
    for (size_t i = 0; i < NR_SLOTS; i++) {
        __atomic_fetch_add(&torture_gone, slots[i].block != NULL, __ATOMIC_RELAXED);
        free(slots[i].block);
    }
    return sum;
}

static void odd_calls(void)
{
    free(NULL);
    torture_sink = malloc(0);
    free(torture_sink);
    torture_sink = realloc(malloc(10), 0); /* glibc frees */
    torture_check(!torture_sink, "realloc to nothing");
    errno = 0;
    torture_sink = calloc(half_of_all, 4);
    torture_check(!torture_sink && errno == ENOMEM, "a product too large for calloc");
    errno = 0;
    torture_sink = malloc(half_of_all);
    torture_check(!torture_sink && errno == ENOMEM, "malloc of everything");
    char *volatile kept = malloc(100); /* what is moved in vain stays */
    kept[99] = 7;
    errno = 0;
    torture_sink = realloc(kept, half_of_all);
    torture_check(!torture_sink && errno == ENOMEM && kept[99] == 7, "realloc to everything");
    torture_check(!reallocarray(kept, half_of_all, 4) && errno == ENOMEM, "reallocarray");
    void *untouched = kept;
    torture_check(posix_memalign(&untouched, 3, 10) == EINVAL && untouched == kept,
                  "bad alignment");
    free(kept);
    errno = E2BIG;
    torture_sink = malloc(10);
    free(torture_sink);
    torture_check(errno == E2BIG, "errno was changed");
    torture_sink = valloc(5000);
    torture_check((uintptr_t)torture_sink % 4096 == 0, "valloc is aligned");
    free(torture_sink);
    torture_sink = pvalloc(1);
    torture_check(malloc_usable_size(torture_sink) >= 4096, "pvalloc gives a page");
    free(torture_sink);
    torture_sink = strdup("a string of libc's own making");
    torture_sink = malloc(123456); /* both stay */
}

static int run_mix(unsigned long amount, const char *file)
{
    (void)file;
    odd_calls();
    printf("mix %016lx\n", (unsigned long)torture_churn(amount, 1));
    return 0;
}

/* --- threads ------------------------------------------------------------------------------------ */

struct job {
    pthread_t thread;
    uint64_t number, sum;
    unsigned long nr_events;
    void *inherited; /* a block of the thread before it */
};

static void *run_job(void *data)
{
    struct job *job = data;
    job->sum = torture_churn(job->nr_events, job->number + 1);
    free(job->inherited);
    job->inherited = malloc(job->number % 1000 + 1);
    return NULL;
}

static uint64_t run_jobs(unsigned long nr, unsigned long nr_events,
                         const pthread_attr_t *attributes)
{
    static struct job jobs[NR_AT_ONCE];
    uint64_t sum = 0;
    for (unsigned long first = 0; first < nr; first += NR_AT_ONCE) {
        unsigned long here = nr - first < NR_AT_ONCE ? nr - first : NR_AT_ONCE;
        for (unsigned long i = 0; i < here; i++) {
            jobs[i].number = first + i;
            jobs[i].nr_events = nr_events;
            torture_check(!pthread_create(&jobs[i].thread, attributes, run_job, &jobs[i]),
                          "no thread");
        }
        for (unsigned long i = 0; i < here; i++) {
            torture_check(!pthread_join(jobs[i].thread, NULL), "join");
            sum = sum * 31 + jobs[i].sum;
        }
    }
    return sum;
}

static int run_threads(unsigned long amount, const char *file)
{
    (void)file;
    printf("threads %016lx\n", (unsigned long)run_jobs(amount, 300, NULL));
    return 0;
}

static uint64_t run_small_jobs(unsigned long nr, unsigned long nr_events)
{
    pthread_attr_t attributes;
    torture_check(!pthread_attr_init(&attributes) &&
                      !pthread_attr_setstacksize(&attributes, SMALL_STACK_BYTES),
                  "16 KB are a stack");
    return run_jobs(nr, nr_events, &attributes);
}

static int run_small_stacks(unsigned long amount, const char *file)
{
    (void)file;
    printf("stacks %016lx\n", (unsigned long)run_small_jobs(amount, 300));
    return 0;
}

/* --- to be killed ------------------------------------------------------------------------------- */

static void *run_for_ever(void *data)
{
    for (uint64_t seed = (uint64_t)(uintptr_t)data;; seed += 1000)
        torture_sink = (void *)(uintptr_t)torture_churn(1000, seed);
    return NULL;
}

/* So many threads, besides this one, until somebody kills it. */
static int run_busy(unsigned long amount, const char *file)
{
    (void)file;
    for (uintptr_t i = 0; i < amount; i++) {
        pthread_t thread;
        torture_check(!pthread_create(&thread, NULL, run_for_ever, (void *)i), "no thread");
    }
    puts("ready");
    fflush(stdout);
    run_for_ever((void *)amount);
    return 0;
}

/* Three threads are at work when the main thread, after so many events, writes where nothing is. */
static int run_crash(unsigned long amount, const char *file)
{
    (void)file;
    for (uintptr_t i = 0; i < 3; i++) {
        pthread_t thread;
        torture_check(!pthread_create(&thread, NULL, run_for_ever, (void *)i), "no thread");
    }
    puts("ready");
    fflush(stdout);
    torture_churn(amount, 1);
    *nowhere = 1;
    return 0;
}

/* Long enough that something can happen to whoever watches; the file, if any, is the sign to go on. */
static int run_steady(unsigned long amount, const char *file)
{
    puts("ready");
    fflush(stdout);
    uint64_t sum = torture_churn(amount, 5);
    while (file && access(file, F_OK) != 0)
        torture_sink = (void *)(uintptr_t)torture_churn(1000, 6);
    sum += run_small_jobs(100, amount / 100);
    printf("steady %016lx\n", (unsigned long)sum);
    return 0;
}

static const struct torture_mode own_modes[] = {
    {"mix", run_mix},   {"threads", run_threads}, {"stacks", run_small_stacks},
    {"busy", run_busy}, {"crash", run_crash},     {"steady", run_steady},
    {NULL, NULL},
};

static const struct torture_mode *find(const struct torture_mode *modes, const char *name)
{
    for (; modes->name; modes++) {
        if (strcmp(modes->name, name) == 0)
            return modes;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const struct torture_mode *const tables[] = {own_modes, torture_process_modes,
                                                 torture_signal_modes};
    const struct torture_mode *mode = NULL;
    for (size_t i = 0; argc > 1 && !mode && i < 3; i++)
        mode = find(tables[i], argv[1]);
    torture_check(mode != NULL, "no such mode");
    return mode->run(argc > 2 ? strtoul(argv[2], NULL, 10) : 1, argc > 3 ? argv[3] : NULL);
}
