/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A preload library that compares every stack: at each malloc, calloc and realloc of the program that it
 * is loaded into, the frames of the site that the tracer finds with those of libunwind, all of them.  At the first
 * difference it prints both and aborts.  At the end it appends a line of counts to the file that
 * STACK_CHECK_COUNTS names.  With STACK_CHECK_ALONE nothing is compared: for stacks that libunwind does not survive.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stack_region.h"
#include "tracer/stack_nodes.h"

enum {
    MAX_FRAMES = 8192,
    HOOK_FRAMES = 4, /* of which the first are the hook's own */
    INNER = 128,     /* of a stack that is cut */
};

struct check {
    struct trace_thread *thread;
    uint32_t is_busy;
    void *truth[MAX_FRAMES];
    const struct region_node *found[MAX_FRAMES];
};

static __thread struct check *check_self __attribute__((tls_model("initial-exec")));
static struct region_header *region;
static uint64_t nr_checked, nr_deep, deepest;
static char counts_path[4096];
static bool is_alone;
static pid_t first_pid;
static int (*unwind)(void **frames, int max); /* unw_backtrace; NULL: not yet */

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t nr, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);

static void say(const char *text)
{
    if (write(2, text, strlen(text)) < 0)
        return;
}

static void say_frame(uint64_t pc, const char *which)
{
    char line[512];
    Dl_info info = {0};
    dladdr((void *)pc, &info);
    snprintf(line, sizeof(line), "  %s %#lx %s+%#lx %s\n", which, pc,
             info.dli_fname ? info.dli_fname : "?",
             pc - (info.dli_fbase ? (uint64_t)info.dli_fbase : 0),
             info.dli_sname ? info.dli_sname : "");
    say(line);
}

__attribute__((noinline)) static void differs(struct check *check, uint32_t nr_truth, void **truth,
                                              uint32_t nr_found)
{
    say("stack_check: a stack differs\n");
    for (uint32_t i = 0; i < nr_truth || i < nr_found; i++) {
        uint64_t a = i < nr_truth ? (uint64_t)truth[i] : 0;
        uint64_t b = i < nr_found ? check->found[i]->pc : 0;
        if (a == b && i > 400)
            continue;
        say_frame(a, a == b ? "  both" : "libunwind");
        if (a != b)
            say_frame(b, "   tracer");
    }
    abort();
}

static bool are_equal(const struct check *check, void **truth, uint32_t nr_truth, uint32_t nr_found)
{
    if (nr_truth <= REGION_STACK_FRAMES) {
        if (nr_truth != nr_found)
            return false;
        for (uint32_t i = 0; i < nr_truth; i++)
            if ((uint64_t)truth[i] != check->found[i]->pc)
                return false;
        return true;
    }
    if (nr_found != REGION_STACK_FRAMES ||
        !(check->found[INNER - 1]->is_pc_exact & REGION_NODE_CUT))
        return false;
    for (uint32_t i = 0; i < nr_found; i++)
        if ((uint64_t)truth[i < INNER ? i : nr_truth - nr_found + i] != check->found[i]->pc)
            return false;
    return true;
}

__attribute__((noinline)) static void compare(struct check *check, const struct stack_start *start)
{
    uint32_t site = stack_site(check->thread, start);
    if (is_alone) {
        __atomic_fetch_add(&nr_checked, 1, __ATOMIC_RELAXED);
        return;
    }
    int nr_all = unwind(check->truth, MAX_FRAMES);
    int first = 0;
    while (first < nr_all && first < HOOK_FRAMES && (uintptr_t)check->truth[first] != start->pc)
        first++;
    if (first == HOOK_FRAMES || first >= nr_all || nr_all == MAX_FRAMES)
        return;
    uint32_t nr_truth = (uint32_t)(nr_all - first);
    uint32_t nr_found = stack_region_frames(site, check->found, MAX_FRAMES);
    __atomic_fetch_add(&nr_checked, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&nr_deep, nr_truth > REGION_STACK_FRAMES, __ATOMIC_RELAXED);
    if (nr_truth > deepest)
        deepest = nr_truth;
    if (!are_equal(check, check->truth + first, nr_truth, nr_found))
        differs(check, nr_truth, check->truth + first, nr_found);
}

static struct check *check_new(void)
{
    struct check *check =
        mmap(NULL, sizeof(*check), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (check == MAP_FAILED)
        abort();
    check->thread = stack_region_thread_new();
    return check;
}

/* Not linked: libunwind's _Unwind_* would then be the program's too. */
__attribute__((constructor)) static void begin(void)
{
    void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
    void *function = library ? dlsym(library, "unw_backtrace") : NULL;
    const char *path = getenv("STACK_CHECK_COUNTS");
    snprintf(counts_path, sizeof(counts_path), "%s", path ? path : "");
    first_pid = getpid();
    is_alone = getenv("STACK_CHECK_ALONE") != NULL;
    region = stack_region_new(1 << 22, 1 << 20, 1 << 24);
    if (!region || !function) {
        say("stack_check: no memory or no libunwind.so.8\n");
        abort();
    }
    stack_region_use(region);
    stack_region_follow_images();
    unwind = (int (*)(void **, int))function;
}

static void check_here(const struct stack_start *start)
{
    struct check *check = check_self;
    int saved = errno;
    if (!unwind)
        return;
    if (!check)
        check = check_self = check_new();
    if (!check->is_busy) {
        check->is_busy = 1;
        compare(check, start);
        check->is_busy = 0;
    }
    errno = saved;
}

/* Asking for the own frame makes one: so the caller's registers are where they are sought. */
#define HOOK __attribute__((visibility("default")))
#define HERE(frame)                                                                                \
    (&(struct stack_start){(uintptr_t)__builtin_return_address(0), (uintptr_t)(frame) + 16,        \
                           *(const uintptr_t *)(frame)})

HOOK void *malloc(size_t bytes)
{
    check_here(HERE(__builtin_frame_address(0)));
    return __libc_malloc(bytes);
}

HOOK void *calloc(size_t nr, size_t bytes)
{
    check_here(HERE(__builtin_frame_address(0)));
    return __libc_calloc(nr, bytes);
}

HOOK void *realloc(void *block, size_t bytes)
{
    check_here(HERE(__builtin_frame_address(0)));
    return __libc_realloc(block, bytes);
}

/* What tests of their own ask: how many stacks were compared so far. */
__attribute__((visibility("default"))) uint64_t stack_check_count(void);
uint64_t stack_check_count(void)
{
    return nr_checked;
}

__attribute__((destructor)) static void write_counts(void)
{
    char line[256];
    if (!region || !counts_path[0] || getpid() != first_pid)
        return;
    snprintf(line, sizeof(line),
             "stacks=%lu deep=%lu deepest=%lu broken=%lu guessed=%lu cut=%lu full=%lu nodes=%u "
             "sites=%u\n",
             nr_checked, nr_deep, deepest, region->lost[LOST_STACK_BROKEN],
             region->lost[LOST_STACK_GUESSED], region->lost[LOST_STACK_CUT],
             region->lost[LOST_TABLE_FULL], region->tables[REGION_NODES].nr_rows - 1,
             region->tables[REGION_SITES].nr_rows - 1);
    int fd = open(counts_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, line, strlen(line)) < 0)
        say("stack_check: the counts could not be written\n");
    close(fd);
}
