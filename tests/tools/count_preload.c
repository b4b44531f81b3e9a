/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The witness of the tracer: a preloaded library that counts the calls of the malloc family, and the
 * bytes asked for, exactly.  Placed behind the tracer (LD_PRELOAD has the tracer first) it sees each
 * call that the tracer passes on.  COUNT_FILE names where the counts go: COUNT_FILE.PID.N for the Nth program
 * of a process, a shared mapping, so that they are there after a SIGKILL too.  In a child of fork
 * nothing is counted until it runs another program.
 *
 * Any thread and any signal handler: atomics only.
 */
#include "count_preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SPAN_BITS =
        26, /* sizes are in a table for each 64 MB of address space, a row for each 8 bytes */
    NR_SPANS = 1 << 21,
    SPAN_ROWS = 1 << (SPAN_BITS - 3),
    EARLY_BYTES = 1 << 16,
};

static struct count_page no_counts;
/* Wiped in a child of fork, where it then reads NULL. */
static struct count_page **own_counts;
static uint64_t **spans;

static char early[EARLY_BYTES] __attribute__((aligned(16))); /* for dlsym itself */
static size_t early_used;

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void *(*real_memalign)(size_t, size_t);
static void (*real_free)(void *);

static void add(uint64_t *counter, uint64_t amount)
{
    __atomic_fetch_add(counter, amount, __ATOMIC_RELAXED);
}

static struct count_page *counts(void)
{
    struct count_page *page = own_counts ? *own_counts : NULL;
    return page ? page : &no_counts;
}

static void count_live(int64_t change)
{
    struct count_page *page = counts();
    uint64_t live = __atomic_add_fetch(&page->live_bytes, (uint64_t)change, __ATOMIC_RELAXED);
    uint64_t peak = __atomic_load_n(&page->peak_bytes, __ATOMIC_RELAXED);
    while (change > 0 && live > peak &&
           !__atomic_compare_exchange_n(&page->peak_bytes, &peak, live, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
        ;
}

static void *map(size_t nr_bytes)
{
    void *at = mmap(NULL, nr_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* COUNT_FILE.PID.N, without anything that allocates. */
static void file_name(char *name, size_t nr_bytes, const char *prefix, unsigned long pid,
                      char number)
{
    size_t length = strnlen(prefix, nr_bytes - 32);
    memcpy(name, prefix, length);
    name[length++] = '.';
    char digits[24];
    size_t nr_digits = 0;
    do
        digits[nr_digits++] = (char)('0' + pid % 10);
    while (pid /= 10);
    while (nr_digits)
        name[length++] = digits[--nr_digits];
    memcpy(name + length, ".0", 3);
    name[length + 1] = number;
}

static int open_file(const char *prefix, unsigned long pid)
{
    char name[4096];
    for (char number = '0'; number <= '9'; number++) {
        file_name(name, sizeof(name), prefix, pid, number);
        int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

static void open_counts(const char *prefix)
{
    unsigned long pid = (unsigned long)syscall(SYS_getpid);
    int fd = open_file(prefix, pid);
    if (fd < 0)
        return;
    struct count_page **place = map(4096);
    struct count_page *page = MAP_FAILED;
    if (place && ftruncate(fd, 4096) == 0)
        page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED || madvise(place, 4096, MADV_WIPEONFORK))
        return;
    page->pid = pid;
    memcpy(page->magic, COUNT_MAGIC, sizeof(page->magic));
    *place = page;
    own_counts = place;
}

static void find(void *function, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(function, &found, sizeof(found));
}

/* The first call is made while there is one thread. */
static void begin(void)
{
    static bool has_begun;
    if (has_begun)
        return;
    has_begun = true;
    int saved = errno;
    spans = map(NR_SPANS * sizeof(*spans));
    const char *prefix = getenv("COUNT_FILE");
    if (prefix && spans)
        open_counts(prefix);
    find(&real_calloc, "calloc");
    find(&real_realloc, "realloc");
    find(&real_memalign, "memalign");
    find(&real_free, "free");
    find(&real_malloc, "malloc"); /* last: until then `early` serves */
    errno = saved;
}

/* The size of the block that starts there, + 1; NULL: no room for it. */
static uint64_t *size_row(const void *block)
{
    uint64_t addr = (uint64_t)(uintptr_t)block, span = addr >> SPAN_BITS;
    if (!spans || span >= NR_SPANS)
        return NULL;
    uint64_t *rows = __atomic_load_n(&spans[span], __ATOMIC_ACQUIRE);
    if (!rows) {
        uint64_t *made = map(SPAN_ROWS * sizeof(*made));
        if (!made)
            return NULL;
        if (__atomic_compare_exchange_n(&spans[span], &rows, made, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            rows = made;
        else
            munmap(made, SPAN_ROWS * sizeof(*made));
    }
    return &rows[(addr & (((uint64_t)1 << SPAN_BITS) - 1)) >> 3];
}

static void *made(void *block, size_t nr_bytes)
{
    if (!block)
        return NULL;
    int saved = errno;
    uint64_t *row = size_row(block);
    if (row)
        *row = nr_bytes + 1;
    add(&counts()->allocated_bytes, nr_bytes);
    count_live((int64_t)nr_bytes);
    add(&counts()->allocations, 1);
    errno = saved;
    return block;
}

/* Before the block is given back; what of `made` it undoes. */
static void gone(void *block)
{
    int saved = errno;
    uint64_t *row = size_row(block);
    if (row && *row) {
        add(&counts()->freed_bytes, *row - 1);
        count_live(1 - (int64_t)*row);
        add(&counts()->frees, 1);
        *row = 0;
    } else {
        add(&counts()->unknown_frees, 1);
    }
    errno = saved;
}

static bool is_early(const void *block)
{
    return (const char *)block >= early && (const char *)block < early + EARLY_BYTES;
}

static void *early_block(size_t nr_bytes)
{
    size_t at = early_used;
    early_used += (nr_bytes + 15) & ~(size_t)15;
    return early_used <= EARLY_BYTES ? early + at : NULL;
}

static void *make(size_t align, size_t nr_bytes, bool is_zeroed)
{
    begin();
    if (!real_malloc)
        return early_block(nr_bytes);
    if (align)
        return real_memalign(align, nr_bytes);
    return is_zeroed ? real_calloc(1, nr_bytes) : real_malloc(nr_bytes);
}

void *malloc(size_t nr_bytes)
{
    add(&counts()->malloc_calls, 1);
    void *block = make(0, nr_bytes, false);
    return made(block, nr_bytes);
}

void *calloc(size_t nr, size_t each_bytes)
{
    add(&counts()->calloc_calls, 1);
    size_t nr_bytes;
    if (__builtin_mul_overflow(nr, each_bytes, &nr_bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return made(make(0, nr_bytes, true), nr_bytes);
}

void free(void *block)
{
    add(&counts()->free_calls, 1);
    if (!block || is_early(block))
        return;
    gone(block);
    real_free(block);
}

void *realloc(void *block, size_t nr_bytes)
{
    add(&counts()->realloc_calls, 1);
    if (!block)
        return made(make(0, nr_bytes, false), nr_bytes);
    if (!nr_bytes) { /* glibc frees */
        gone(block);
        return real_realloc(block, 0);
    }
    uint64_t *row = size_row(block), had = row ? *row : 0;
    if (row)
        *row = 0; /* afterwards the block may be another thread's */
    void *moved = real_realloc(block, nr_bytes);
    if (!moved) {
        if (row)
            *row = had;
        return NULL;
    }
    add(had ? &counts()->frees : &counts()->unknown_frees, 1);
    add(&counts()->freed_bytes, had ? had - 1 : 0);
    count_live(had ? 1 - (int64_t)had : 0);
    return made(moved, nr_bytes);
}

void *reallocarray(void *block, size_t nr, size_t each_bytes)
{
    size_t nr_bytes;
    if (__builtin_mul_overflow(nr, each_bytes, &nr_bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(block, nr_bytes);
}

static void *make_aligned(size_t align, size_t nr_bytes)
{
    add(&counts()->aligned_calls, 1);
    return made(make(align, nr_bytes, false), nr_bytes);
}

void *memalign(size_t align, size_t nr_bytes)
{
    return make_aligned(align, nr_bytes);
}

void *aligned_alloc(size_t align, size_t nr_bytes)
{
    return make_aligned(align, nr_bytes);
}

int posix_memalign(void **block, size_t align, size_t nr_bytes)
{
    if (align % sizeof(void *) || !align || align & (align - 1))
        return EINVAL;
    int saved = errno;
    void *got = make_aligned(align, nr_bytes);
    errno = saved;
    if (!got)
        return ENOMEM;
    *block = got;
    return 0;
}

void *valloc(size_t nr_bytes)
{
    return make_aligned(4096, nr_bytes);
}

void *pvalloc(size_t nr_bytes)
{
    add(&counts()->aligned_calls, 1);
    return made(make(4096, (nr_bytes + 4095) & ~(size_t)4095, false), nr_bytes);
}
