/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Programs for the tracer, each of which counts its own allocations.  `trace_subject NAME [ARGS]`; what each
 * does stands above its function.  Counts are printed by write, from the stack: nothing here allocates but
 * what is counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

extern char **environ;

enum { SLOTS = 512, MAX_THREADS = 64 };

struct counts {
    uint64_t allocations, allocated_bytes, frees, freed_bytes;
};

struct block {
    void *at;
    size_t bytes;
};

struct worker {
    uint64_t seed;
    long steps;
    unsigned index;
    struct counts counts;
    struct block blocks[SLOTS];
};

static struct worker workers[MAX_THREADS];
static _Atomic(void *) mailbox[MAX_THREADS]; /* blocks for another thread to free */
static _Atomic size_t mailbox_bytes[MAX_THREADS];
static pthread_barrier_t barrier;

static void print(const char *format, ...)
{
    char text[512];
    va_list list;
    va_start(list, format);
    int length = vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    if (write(1, text, (size_t)length) != length)
        _exit(99);
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void check(int condition, const char *what)
{
    if (condition)
        return;
    print("failed: %s\n", what);
    _exit(98);
}

/* --- random blocks ------------------------------------------------------------------------------------ */

static void count_made(struct worker *worker, struct block *block, size_t bytes)
{
    check(block->at != NULL, "allocation");
    block->bytes = bytes;
    worker->counts.allocations++;
    worker->counts.allocated_bytes += bytes;
}

static void count_freed(struct worker *worker, size_t bytes)
{
    worker->counts.frees++;
    worker->counts.freed_bytes += bytes;
}

static void make(struct worker *worker, struct block *block, uint64_t random)
{
    size_t bytes = (random >> 8) % (random & 64 ? 100 : 5000);
    switch (random % 8) {
    case 0:
        block->at = calloc(3, bytes / 3);
        bytes = bytes / 3 * 3;
        break;
    case 1:
        check(posix_memalign(&block->at, 128, bytes) == 0, "posix_memalign");
        break;
    case 2:
        block->at = aligned_alloc(64, bytes / 64 * 64);
        bytes = bytes / 64 * 64;
        break;
    case 3:
        block->at = memalign(4096, bytes);
        break;
    case 4:
        block->at = reallocarray(NULL, bytes, 1);
        break;
    default:
        block->at = malloc(bytes);
        break;
    }
    count_made(worker, block, bytes);
}

/* What a block holds must be what was put there. */
static void *move(struct worker *worker, struct block *block, uint64_t random)
{
    size_t bytes = 1 + (random >> 8) % 3000;
    size_t kept = bytes < block->bytes ? bytes : block->bytes;
    memset(block->at, (int)(block->bytes & 0x7f), kept);
    int value = (int)(block->bytes & 0x7f);
    block->at = random & 1 ? realloc(block->at, bytes) : reallocarray(block->at, bytes, 1);
    for (size_t i = 0; i < kept; i++)
        check(((char *)block->at)[i] == value, "content after realloc");
    count_freed(worker, block->bytes);
    count_made(worker, block, bytes);
    return block->at;
}

static void release(struct worker *worker, struct block *block)
{
    count_freed(worker, block->bytes);
    free(block->at);
    block->at = NULL;
}

/* Gives a block to whoever comes by, and frees what lies there. */
static void exchange(struct worker *worker, struct block *block, unsigned place)
{
    size_t bytes = block->bytes;
    void *taken = atomic_exchange(&mailbox[place], NULL);
    if (taken) {
        count_freed(worker, malloc_usable_size(taken) ? mailbox_bytes[place] : 0);
        free(taken);
        return;
    }
    mailbox_bytes[place] = bytes; /* only its own place is filled by a thread */
    mailbox[place] = block->at;
    block->at = NULL;
}

static void step(struct worker *worker)
{
    uint64_t random = random_next(&worker->seed);
    struct block *block = &worker->blocks[random >> 40 & (SLOTS - 1)];
    if (!block->at)
        make(worker, block, random);
    else if (random % 5 == 0)
        move(worker, block, random);
    else
        release(worker, block);
}

static void impossible(void)
{
    volatile size_t huge = SIZE_MAX / 2;
    errno = 0;
    check(!malloc(huge) && errno == ENOMEM, "huge malloc");
    errno = 0;
    check(!calloc(huge, 8) && errno == ENOMEM, "huge calloc");
    errno = 0;
    check(!reallocarray(NULL, huge, 8) && errno == ENOMEM, "huge reallocarray");
    void *block = malloc(100);
    memset(block, 7, 100);
    errno = 0;
    check(!realloc(block, huge) && errno == ENOMEM, "huge realloc");
    check(((char *)block)[99] == 7, "content after a realloc that failed");
    check(malloc_usable_size(block) >= 100, "usable size");
    errno = 77;
    free(block);
    free(NULL);
    check(errno == 77, "errno after free");
    void *at = NULL;
    check(posix_memalign(&at, 3, 10) == EINVAL, "odd alignment");
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    char name[16];
    snprintf(name, sizeof(name), "worker-%u", worker->index);
    prctl(PR_SET_NAME, name);
    pthread_barrier_wait(&barrier);
    for (long i = 0; i < worker->steps; i++)
        step(worker);
    pthread_barrier_wait(&barrier); /* all are alive, so that each has a place of its own */
    print("%s %llu %llu %llu %llu\n", name, (unsigned long long)worker->counts.allocations,
          (unsigned long long)worker->counts.allocated_bytes,
          (unsigned long long)worker->counts.frees, (unsigned long long)worker->counts.freed_bytes);
    return NULL;
}

static void start_workers(unsigned nr, long steps)
{
    for (unsigned i = 0; i < nr; i++)
        workers[i] = (struct worker){.seed = i + 1, .steps = steps, .index = i};
}

/* blocks THREADS STEPS: each thread prints its own counts, all alive at once; some blocks are never freed. */
static int run_blocks(int argc, char **argv)
{
    unsigned nr = argc > 0 ? (unsigned)atoi(argv[0]) : 4;
    start_workers(nr, argc > 1 ? atol(argv[1]) : 20000);
    pthread_t threads[MAX_THREADS];
    pthread_barrier_init(&barrier, NULL, nr);
    impossible();
    for (unsigned i = 0; i < nr; i++)
        pthread_create(&threads[i], NULL, work, &workers[i]);
    for (unsigned i = 0; i < nr; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

/* --- threads that come and go --------------------------------------------------------------------------- */

static pthread_key_t last_words;

static void say_last_words(void *value)
{
    free(value);
}

static void *visit(void *argument)
{
    struct worker *worker = argument;
    pthread_setspecific(last_words, malloc(33)); /* freed when the thread ends */
    for (long i = 0; i < worker->steps; i++)
        step(worker);
    for (int i = 0; i < SLOTS; i += 2)
        if (worker->blocks[i].at)
            exchange(worker, &worker->blocks[i], worker->index);
    return NULL;
}

/* threads NR STEPS: so many threads, eight at a time, 16 KB of stack each; they free each other's blocks. */
static int run_threads(int argc, char **argv)
{
    long nr = argc > 0 ? atol(argv[0]) : 1000;
    start_workers(8, argc > 1 ? atol(argv[1]) : 300);
    pthread_key_create(&last_words, say_last_words);
    pthread_attr_t small;
    pthread_attr_init(&small);
    check(pthread_attr_setstacksize(&small, 16384) == 0, "stack size");
    pthread_t threads[8];
    for (long i = 0; i < nr; i++) {
        if (i >= 8)
            pthread_join(threads[i % 8], NULL);
        check(pthread_create(&threads[i % 8], &small, visit, &workers[i % 8]) == 0, "thread");
    }
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

/* --- processes ------------------------------------------------------------------------------------------- */

/* What a child does with blocks that are not its own. */
static void child_work(struct worker *worker)
{
    for (int i = 0; i < 2000; i++)
        step(worker);
}

static void wait_for(pid_t pid)
{
    int status = 0;
    check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "child");
}

/* processes: children by fork, raw fork, vfork, posix_spawn, system, popen; then prints its own counts. */
static int run_processes(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    start_workers(1, 0);
    struct worker *worker = &workers[0];
    prctl(PR_SET_NAME, "worker-0");
    for (int i = 0; i < 1000; i++)
        step(worker);
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        if (!pid) {
            child_work(worker);
            if (fork() == 0)
                child_work(worker);
            _exit(0);
        }
        wait_for(pid);
    }
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (!pid) {
        child_work(worker);
        _exit(0);
    }
    wait_for(pid);
    pid = vfork();
    if (!pid) {
        execl("/bin/true", "true", NULL);
        _exit(1);
    }
    wait_for(pid);
    char *const words[] = {"true", NULL};
    check(posix_spawn(&pid, "/bin/true", NULL, NULL, words, environ) == 0, "posix_spawn");
    wait_for(pid);
    check(system("true") == 0, "system");
    for (int i = 0; i < 1000; i++)
        step(worker);
    print("worker-0 %llu %llu %llu %llu\n", (unsigned long long)worker->counts.allocations,
          (unsigned long long)worker->counts.allocated_bytes,
          (unsigned long long)worker->counts.frees, (unsigned long long)worker->counts.freed_bytes);
    return 0;
}

/* daemon: goes into the background; the child works on, writes "done" to the file, and exits. */
static int run_daemon(int argc, char **argv)
{
    start_workers(1, 0);
    child_work(&workers[0]);
    int fd = open(argc > 0 ? argv[0] : "/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    check(daemon(1, 1) == 0, "daemon");
    child_work(&workers[0]);
    check(write(fd, "done\n", 5) == 5, "write");
    return 0;
}

/* exec N: replaces itself N times, in all ways; at last prints what the environment shows. */
static int run_exec(int argc, char **argv)
{
    int left = argc > 0 ? atoi(argv[0]) : 0;
    char next[16];
    snprintf(next, sizeof(next), "%d", left - 1);
    char *const words[] = {"trace_subject", "exec", next, NULL};
    const char *self = "/proc/self/exe";
    char path[4096] = {0};
    check(readlink(self, path, sizeof(path) - 1) > 0, "path");
    switch (left) {
    case 1:
        execl(path, "trace_subject", "exec", next, NULL);
        break;
    case 2:
        execv(path, words);
        break;
    case 3:
        execve(path, words, environ);
        break;
    case 4:
        execvp(path, words);
        break;
    case 5:
        execlp(path, "trace_subject", "exec", next, NULL);
        break;
    case 6:
        execle(path, "trace_subject", "exec", next, NULL, environ);
        break;
    case 7:
        execvpe(path, words, environ);
        break;
    case 8:
        fexecve(open(path, O_RDONLY | O_CLOEXEC), words, environ);
        break;
    case 9:
        execveat(AT_FDCWD, path, words, environ, 0);
        break;
    case 10:
        execv("/nowhere", words);
        execv(path, words);
        break;
    default:
        break;
    }
    check(left == 0, "exec");
    for (char **word = environ; *word; word++)
        if (strncmp(*word, "LD_PRELOAD=", 11) == 0 || strncmp(*word, "ASYNCMEM_RUN=", 13) == 0)
            print("%s\n", *word);
    start_workers(1, 0);
    child_work(&workers[0]);
    return 0;
}

/* --- the end at any moment ---------------------------------------------------------------------------------- */

struct shared_counts {
    _Atomic uint64_t begun, done, frees_begun, frees_done;
};

static void *hurry(void *argument)
{
    struct shared_counts *counts = argument;
    for (;;) {
        counts->begun++;
        void *volatile block = malloc(24);
        counts->done++;
        counts->frees_begun++;
        free(block);
        counts->frees_done++;
    }
    return NULL;
}

/* killed FILE THREADS [US]: counts in the file, for whoever kills it; or dies by SIGSEGV after so long. */
static int run_killed(int argc, char **argv)
{
    check(argc > 1, "arguments");
    int fd = open(argv[0], O_RDWR | O_CREAT | O_TRUNC, 0600);
    check(fd >= 0 && ftruncate(fd, 4096) == 0, "file");
    struct shared_counts *counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int nr = atoi(argv[1]);
    pthread_t thread;
    for (int i = 0; i < nr; i++)
        pthread_create(&thread, NULL, hurry, &counts[i]);
    usleep(argc > 2 ? (useconds_t)atol(argv[2]) : 20000000);
    *(volatile int *)8 = 0;
    return 0;
}

/* --- limits -------------------------------------------------------------------------------------------------- */

/* limits: what a program that limits its own address space and locks its memory sees is what it set. */
static int run_limits(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    struct rlimit limit = {1 << 30, RLIM_INFINITY}, seen;
    check(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
    check(getrlimit(RLIMIT_AS, &seen) == 0 && seen.rlim_cur == 1 << 30, "getrlimit");
    check(prlimit(0, RLIMIT_AS, NULL, &seen) == 0 && seen.rlim_cur == 1 << 30, "prlimit");
    void *block = malloc(100 << 20);
    check(block != NULL, "what the limit allows");
    check(malloc((size_t)2 << 30) == NULL, "what it does not");
    free(block);
    limit.rlim_cur = RLIM_INFINITY;
    check(setrlimit(RLIMIT_AS, &limit) == 0, "no limit");
    int locked = mlockall(MCL_CURRENT | MCL_FUTURE);
    print("mlockall %d\n", locked == 0 ? 0 : errno);
    start_workers(1, 0);
    child_work(&workers[0]);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} programs[] = {
    {"blocks", run_blocks}, {"threads", run_threads}, {"processes", run_processes},
    {"daemon", run_daemon}, {"exec", run_exec},       {"killed", run_killed},
    {"limits", run_limits},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof(programs) / sizeof(programs[0]); i++)
        if (strcmp(argv[1], programs[i].name) == 0)
            return programs[i].run(argc - 2, argv + 2);
    return 97;
}
