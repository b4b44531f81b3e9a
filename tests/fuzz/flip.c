/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Damage: takes a real program, and for each seed flips some of its bytes, cuts it or overwrites
 * its headers, and does with it all that asyncmem does, in process.  Built with sanitizers any
 * report of theirs is a failure; a seed that takes over ten seconds is one too.
 *
 *   flip FILE... [--seeds N] [--first SEED] [--jobs N] [--keep FILE]
 *
 * Seeds are spread over the files in turn and over `jobs` processes.  A failure prints the seed and
 * the file, so that `--first SEED --seeds 1` repeats it; --keep writes the damaged file first.
 */
#include <elf.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "pipeline.h"

enum { SECONDS_A_SEED = 10, MAX_FLIPS = 64 };

struct subject {
    const char *path;
    struct file file;
};

struct options {
    uint64_t first, nr_seeds;
    unsigned jobs;
    const char *keep;
};

/* xorshift64*, seeded through splitmix64: the same damage everywhere. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

static uint64_t seed_random(uint64_t seed)
{
    uint64_t z = seed + 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (z ^ (z >> 31)) | 1;
}

static uint64_t below(uint64_t *state, uint64_t limit)
{
    return limit ? next_random(state) % limit : 0;
}

/* --- where to hit ---------------------------------------------------------------------------- */

/* The part of the file that a random section of debug info or symbols covers; else all of it. */
static void choose_range(const uint8_t *bytes, size_t size, uint64_t *random, size_t *begin,
                         size_t *length)
{
    Elf64_Ehdr ehdr;
    Elf64_Shdr shdr;
    *begin = 0;
    *length = size;
    if (size < sizeof(ehdr))
        return;
    memcpy(&ehdr, bytes, sizeof(ehdr));
    if (!ehdr.e_shnum || ehdr.e_shoff > size || (size - ehdr.e_shoff) / sizeof(shdr) < ehdr.e_shnum)
        return;
    if (below(random, 4) == 0) { /* the section headers */
        *begin = ehdr.e_shoff;
        *length = ehdr.e_shnum * sizeof(shdr);
        return;
    }
    memcpy(&shdr, bytes + ehdr.e_shoff + below(random, ehdr.e_shnum) * sizeof(shdr), sizeof(shdr));
    if (shdr.sh_type == SHT_NOBITS || !shdr.sh_size || shdr.sh_offset >= size ||
        shdr.sh_size > size - shdr.sh_offset)
        return;
    *begin = shdr.sh_offset;
    /* Often only its begin: unit, line and list headers are there. */
    *length = below(random, 3) ? shdr.sh_size : shdr.sh_size < 64 ? shdr.sh_size : 64;
}

static uint8_t new_byte(uint8_t old, uint64_t *random)
{
    static const uint8_t edges[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0xfe, 0x10};
    switch (below(random, 3)) {
    case 0:
        return old ^ (uint8_t)(1u << below(random, 8));
    case 1:
        return edges[below(random, sizeof(edges))];
    default:
        return (uint8_t)next_random(random);
    }
}

/* Damages the copy; returns its new size. */
static size_t damage(uint8_t *bytes, size_t size, uint64_t seed)
{
    uint64_t random = seed_random(seed);
    uint64_t way = below(&random, 16);
    size_t begin = 0, length = size, flips = 1 + below(&random, MAX_FLIPS);
    if (way >= 8)
        choose_range(bytes, size, &random, &begin, &length);
    if (way == 15) { /* a run of one byte */
        size_t at = begin + below(&random, length), run = 1 + below(&random, 32);
        memset(bytes + at, new_byte(bytes[at], &random), run < size - at ? run : size - at);
    }
    for (size_t i = 0; i < flips; i++) {
        size_t at = begin + below(&random, length);
        bytes[at] = new_byte(bytes[at], &random);
    }
    return way == 0 ? 1 + below(&random, size) : size;
}

/* --- running --------------------------------------------------------------------------------- */

static char now[512]; /* what runs, for the message of a death */

static void say_and_die(int signal_number)
{
    if (write(STDERR_FILENO, now, strlen(now)) < 0)
        _exit(3);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void watch_for_death(void)
{
    static const int signals[] = {SIGALRM, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        signal(signals[i], say_and_die);
}

static void keep_copy(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(bytes, 1, size, out) != size || fclose(out) != 0)
        fprintf(stderr, "flip: %s: cannot be written\n", path);
}

/* Every jobs-th seed, from first + job on. */
static uint64_t run_seeds(const struct subject *subjects, size_t nr, const struct options *options,
                          unsigned job)
{
    uint64_t accepted = 0;
    for (uint64_t i = job; i < options->nr_seeds; i += options->jobs) {
        uint64_t seed = options->first + i;
        const struct subject *subject = &subjects[seed % nr];
        size_t size = subject->file.size_bytes;
        uint8_t *copy = memory_alloc(size);
        memcpy(copy, subject->file.bytes, size);
        size = damage(copy, size, seed);
        if (options->keep)
            keep_copy(options->keep, copy, size);
        snprintf(now, sizeof(now), "flip: died with seed %llu of %s\n", (unsigned long long)seed,
                 subject->path);
        alarm(SECONDS_A_SEED);
        accepted += pipeline_run_bytes(copy, size);
        alarm(0);
        free(copy);
    }
    return accepted;
}

static bool run_jobs(const struct subject *subjects, size_t nr, const struct options *options)
{
    bool ok = true;
    for (unsigned job = 0; job < options->jobs; job++) {
        pid_t child = fork();
        if (child < 0) {
            perror("flip: fork");
            return false;
        }
        if (child == 0) {
            watch_for_death();
            run_seeds(subjects, nr, options, job);
            exit(0); /* not _exit: the leak checker runs at exit */
        }
    }
    int status;
    while (wait(&status) > 0) {
        if (WIFSIGNALED(status))
            fprintf(stderr, "flip: a job died of signal %d (%s)\n", WTERMSIG(status),
                    strsignal(WTERMSIG(status)));
        else if (WEXITSTATUS(status))
            fprintf(stderr, "flip: a job ended with status %d\n", WEXITSTATUS(status));
        ok &= status == 0;
    }
    return ok;
}

static bool take_options(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {
        {"seeds", required_argument, NULL, 's'},
        {"first", required_argument, NULL, 'f'},
        {"jobs", required_argument, NULL, 'j'},
        {"keep", required_argument, NULL, 'k'},
        {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        if (option == 's')
            options->nr_seeds = strtoull(optarg, NULL, 10);
        else if (option == 'f')
            options->first = strtoull(optarg, NULL, 10);
        else if (option == 'j')
            options->jobs = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 'k')
            options->keep = optarg;
        else
            return false;
    }
    return optind < argc && options->jobs && options->nr_seeds;
}

int main(int argc, char **argv)
{
    struct options options = {.first = 1, .nr_seeds = 2000, .jobs = 1};
    if (!take_options(argc, argv, &options)) {
        fprintf(stderr,
                "usage: flip FILE... [--seeds N] [--first SEED] [--jobs N] [--keep FILE]\n");
        return 2;
    }
    size_t nr = (size_t)(argc - optind);
    struct subject *subjects = memory_alloc(nr * sizeof(*subjects));
    bool ok = true;
    for (size_t i = 0; i < nr; i++) {
        struct error err;
        subjects[i].path = argv[optind + (int)i];
        if (!file_open(&subjects[i].file, subjects[i].path, &err)) {
            fprintf(stderr, "flip: %s\n", err.message);
            return 2;
        }
        /* Undamaged it must be read: else nothing is tested. */
        if (!pipeline_run(subjects[i].path)) {
            fprintf(stderr, "flip: %s: cannot be read even undamaged\n", subjects[i].path);
            return 2;
        }
    }
    ok = run_jobs(subjects, nr, &options);
    for (size_t i = 0; i < nr; i++)
        file_close(&subjects[i].file);
    free(subjects);
    if (ok)
        printf("flip: %llu seeds passed\n", (unsigned long long)options.nr_seeds);
    else
        printf("flip: FAILED\n");
    return ok ? 0 : 1;
}
