/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The smallest recorder: makes a live region, runs a program with the tracer preloaded, and prints what stands in
 * the region afterwards, as it stands there, as JSON.  Tests of the tracer compare it with what the program
 * counted itself.
 *
 *   trace_host [-o FILE] [-l LIBRARY] [-s all|sampled|none] [-m BYTES] [-f] [-k MS] [-r] [-b] [-t] -- PROGRAM ARGS
 *
 * -f children too (each process a region, in the order of their asking); -k kills the program after so many
 * ms; -r no answer to any question; -b without live blocks; -t tables so small that valgrind can map them.
 * Exits as the program does.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/futex.h>

#include "recording/region.h"
#include "recording/region_socket.h"

enum { MAX_REGIONS = 4096, MAX_PEERS = 256, TICK_MS = 4 };

struct host {
    struct region_options options;
    const char *library, *output;
    char **program;
    long kill_ms;
    bool is_silent, is_brief;
    char name[64], reason[REGION_REASON_BYTES + 1];
    int listener;
    pid_t child;
    struct region regions[MAX_REGIONS];
    pid_t pids[MAX_REGIONS];
    size_t nr_regions;
    int peers[MAX_PEERS];
    size_t nr_peers;
};

static struct host host;

static void die(const char *what)
{
    fprintf(stderr, "trace_host: %s: %s\n", what, strerror(errno));
    exit(125);
}

/* --- serving --------------------------------------------------------------------------------------- */

static void listen_here(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(host.name, sizeof(host.name), "asyncmem-host-%d", (int)getpid());
    size_t length = strlen(host.name);
    memcpy(address.sun_path + 1, host.name, length);
    host.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    if (host.listener < 0 || bind(host.listener, (struct sockaddr *)&address, size) != 0 ||
        listen(host.listener, 128) != 0)
        die("socket");
}

static void send_region(int peer, int fd)
{
    struct region_hello hello = {REGION_HELLO_VERSION, fd >= 0};
    struct iovec bytes = {&hello, sizeof(hello)};
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    }
    sendmsg(peer, &message, MSG_NOSIGNAL);
}

static uint32_t count_execs(pid_t pid)
{
    uint32_t nr = 0;
    for (size_t i = 0; i < host.nr_regions; i++)
        nr += host.pids[i] == pid;
    return nr;
}

/* One process that asks. */
static void serve(void)
{
    int peer = accept4(host.listener, NULL, NULL, SOCK_CLOEXEC);
    if (peer < 0)
        return;
    struct ucred who = {0};
    socklen_t size = sizeof(who);
    getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &size);
    struct error err;
    int fd = -1;
    if ((who.pid == host.child || host.options.follows_children) && host.nr_regions < MAX_REGIONS) {
        struct region *region = &host.regions[host.nr_regions];
        uint32_t nr_execs = count_execs(who.pid);
        if (!region_make(region, &host.options, &err)) {
            fprintf(stderr, "trace_host: %s\n", err.message);
            exit(125);
        }
        region->header->nr_execs = nr_execs;
        host.pids[host.nr_regions++] = who.pid;
        fd = region->fd;
    }
    send_region(peer, fd);
    host.peers[host.nr_peers++ % MAX_PEERS] = peer;
}

/* Reasons why somebody steps aside, until the other end is closed. */
static void hear_peers(void)
{
    for (size_t i = 0; i < host.nr_peers && i < MAX_PEERS; i++) {
        char text[REGION_REASON_BYTES];
        ssize_t got =
            host.peers[i] < 0 ? -1 : recv(host.peers[i], text, sizeof(text), MSG_DONTWAIT);
        if (got > 0)
            snprintf(host.reason, sizeof(host.reason), "%.*s", (int)got, text);
        if (got == 0) {
            close(host.peers[i]);
            host.peers[i] = -1;
        }
    }
}

static void futex_wake(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void answer(struct region *region)
{
    struct region_header *header = region->header;
    region_clock_tick(region);
    if (host.is_silent)
        return;
    uint32_t published = __atomic_load_n(&header->images_published, __ATOMIC_ACQUIRE);
    if (header->images_seen != published) {
        __atomic_store_n(&header->images_seen, published, __ATOMIC_RELEASE);
        futex_wake(&header->images_seen);
    }
    static uint32_t answered_for[MAX_REGIONS];
    uint32_t *answered = &answered_for[region - host.regions];
    uint32_t asked = __atomic_load_n(&header->asked, __ATOMIC_ACQUIRE);
    if (asked && !*answered) {
        __atomic_fetch_add(&header->answered, 1, __ATOMIC_RELEASE);
        futex_wake(&header->answered);
    }
    *answered = asked;
}

static void start_program(void)
{
    host.child = fork();
    if (host.child)
        return;
    char preload[4200];
    const char *own = getenv("LD_PRELOAD");
    snprintf(preload, sizeof(preload), "%s%s%s", host.library, own ? ":" : "", own ? own : "");
    setenv("LD_PRELOAD", preload, 1);
    setenv(REGION_SOCKET_VARIABLE, host.name, 1);
    execvp(host.program[0], host.program);
    _exit(127);
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Returns the program's wait status. */
static int run_program(void)
{
    start_program();
    double started = now_ms();
    for (;;) {
        struct pollfd wait = {host.listener, POLLIN, 0};
        if (poll(&wait, 1, TICK_MS) > 0)
            serve();
        hear_peers();
        for (size_t i = 0; i < host.nr_regions; i++)
            answer(&host.regions[i]);
        if (host.kill_ms >= 0 && now_ms() - started >= (double)host.kill_ms) {
            kill(host.child, SIGKILL);
            host.kill_ms = -1;
        }
        int status;
        if (waitpid(host.child, &status, WNOHANG) == host.child) {
            hear_peers();
            return status;
        }
    }
}

/* --- printing --------------------------------------------------------------------------------------- */

static const char *separator; /* "" before the first of a list */

static void list_begin(FILE *out, const char *name)
{
    fprintf(out, ",\n\"%s\":[", name);
    separator = "";
}

static void print_threads(FILE *out, const struct region_view *view)
{
    list_begin(out, "threads");
    uint32_t nr = region_nr_rows(view, REGION_THREADS);
    for (uint32_t id = 1; id < nr; id++) {
        const struct region_thread *row = region_row(view, REGION_THREADS, id);
        fprintf(out,
                "%s\n{\"id\":%u,\"tid\":%u,\"name\":\"%.16s\",\"allocations\":%" PRIu64
                ",\"allocated_bytes\":%" PRIu64 ",\"frees\":%" PRIu64 ",\"freed_bytes\":%" PRIu64
                ",\"temporary\":%" PRIu64 ",\"unknown_frees\":%" PRIu64 ",\"polls\":%" PRIu64 "}",
                separator, id, row->tid, row->name, row->allocations, row->allocated_bytes,
                row->frees, row->freed_bytes, row->temporary, row->unknown_frees, row->polls);
        separator = ",";
    }
    fprintf(out, "]");
}

static void print_tasks(FILE *out, const struct region_view *view)
{
    list_begin(out, "tasks");
    uint32_t nr = region_nr_rows(view, REGION_TASKS);
    for (uint32_t id = 1; id < nr; id++) {
        const struct region_task *row = region_row(view, REGION_TASKS, id);
        if (!row->id)
            continue;
        fprintf(out,
                "%s\n{\"row\":%u,\"id\":%" PRIu64 ",\"kind\":%u,\"type\":%u,\"thread\":%u,"
                "\"end\":%u,\"polls\":%" PRIu64 ",\"allocations\":%" PRIu64
                ",\"allocated_bytes\":%" PRIu64 ",\"frees\":%" PRIu64 ",\"freed_bytes\":%" PRIu64
                ",\"foreign_freed_bytes\":%" PRIu64 ",\"peak_bytes\":%" PRIu64
                ",\"runtime_task_id\":%" PRIu64 "}",
                separator, id, row->id, row->kind, row->type, row->thread, row->end, row->polls,
                row->allocations, row->allocated_bytes, row->frees, row->freed_bytes,
                row->foreign_freed_bytes, row->peak_bytes, row->runtime_task_id);
        separator = ",";
    }
    fprintf(out, "]");
}

static struct region_site_counts site_sums(const struct region_view *view, uint32_t id)
{
    struct region_site_counts sum = {0};
    for (uint32_t stripe = 0; stripe < REGION_STRIPES; stripe++) {
        const struct region_site_counts *row =
            region_stripe_row(view, REGION_SITE_COUNTS, stripe, id);
        uint64_t at = region_row_offset(view, REGION_SITE_COUNTS, stripe, id), span[2];
        if (!row || !region_data_span(view, at, at + sizeof(*row), span))
            continue;
        sum.allocations += row->allocations;
        sum.allocated_bytes += row->allocated_bytes;
        sum.frees += row->frees;
        sum.freed_bytes += row->freed_bytes;
        sum.temporary += row->temporary;
    }
    return sum;
}

static void print_frames(FILE *out, const struct region_view *view, uint32_t node)
{
    fprintf(out, "\"frames\":[");
    for (unsigned depth = 0; node && depth < REGION_STACK_FRAMES; depth++) {
        const struct region_node *row = region_row(view, REGION_NODES, node);
        if (!row)
            break;
        fprintf(out, "%s[%" PRIu64 ",%u]", depth ? "," : "", row->pc, row->image);
        node = row->parent;
    }
    fprintf(out, "]");
}

static void print_sites(FILE *out, const struct region_view *view)
{
    list_begin(out, "sites");
    uint32_t nr = region_nr_rows(view, REGION_SITES);
    for (uint32_t id = 1; id < nr; id++) {
        const struct region_site *row = region_row(view, REGION_SITES, id);
        struct region_site_counts sum = site_sums(view, id);
        fprintf(out,
                "%s\n{\"id\":%u,\"allocations\":%" PRIu64 ",\"allocated_bytes\":%" PRIu64
                ",\"frees\":%" PRIu64 ",\"freed_bytes\":%" PRIu64 ",\"temporary\":%" PRIu64 ",",
                separator, id, sum.allocations, sum.allocated_bytes, sum.frees, sum.freed_bytes,
                sum.temporary);
        print_frames(out, view, row->node);
        const struct region_lifetimes *lifetimes =
            region_row(view, REGION_LIFETIMES, row->lifetimes);
        fprintf(out, ",\"lifetimes\":[");
        for (int i = 0; lifetimes && i < REGION_LIFETIME_BUCKETS; i++)
            fprintf(out, "%s%u", i ? "," : "", lifetimes->buckets[i]);
        fprintf(out, "]}");
        separator = ",";
    }
    fprintf(out, "]");
}

static void print_images(FILE *out, const struct region_view *view)
{
    list_begin(out, "images");
    uint32_t nr = region_nr_rows(view, REGION_IMAGES);
    for (uint32_t id = 1; id < nr; id++) {
        const struct region_image *row = region_row(view, REGION_IMAGES, id);
        fprintf(out,
                "%s\n{\"id\":%u,\"path\":\"%.1024s\",\"start\":%" PRIu64 ",\"end\":%" PRIu64
                ",\"bias\":%" PRIu64 ",\"unloaded_ns\":%" PRIu64 ",\"vtables\":%u,\"program\":%u,"
                "\"build_id_bytes\":%u}",
                separator, id, row->path, row->start, row->end, row->bias, row->unloaded_ns,
                row->nr_vtables, row->is_program, row->build_id_bytes);
        separator = ",";
    }
    fprintf(out, "]");
}

static void print_types(FILE *out, const struct region_view *view)
{
    list_begin(out, "types");
    uint32_t nr = region_nr_rows(view, REGION_TYPES);
    for (uint32_t id = 1; id < nr; id++) {
        const struct region_type *row = region_row(view, REGION_TYPES, id);
        fprintf(out,
                "%s\n{\"id\":%u,\"image\":%u,\"is_blocking\":%u,\"live_tasks\":%" PRIu64
                ",\"most_at_once\":%" PRIu64 ",\"cell_bytes\":%" PRIu64 "}",
                separator, id, row->image, row->is_blocking, row->live_tasks, row->most_at_once,
                row->cell_bytes);
        separator = ",";
    }
    fprintf(out, "]");
}

struct live_sum {
    uint64_t blocks, bytes;
};

static struct live_sum print_blocks(FILE *out, const struct region_view *view)
{
    struct live_sum sum = {0};
    struct region_block_walk walk;
    struct region_block block;
    list_begin(out, "blocks");
    region_blocks_begin(&walk, view);
    while (region_blocks_next(&walk, &block)) {
        sum.blocks++;
        sum.bytes += block.bytes;
        if (host.is_brief)
            continue;
        fprintf(out, "%s\n[%" PRIu64 ",%" PRIu64 ",%u,%u,%d]", separator, block.addr, block.bytes,
                block.site, block.task, block.owner & REGION_LIVE_CELL ? 1 : 0);
        separator = ",";
    }
    region_blocks_end(&walk);
    fprintf(out, "]");
    return sum;
}

static void print_totals(FILE *out, const struct region_view *view, const struct live_sum *live)
{
    const struct region_header *header = view->header;
    struct region_thread sum = {0};
    uint64_t peak = header->peak_bytes;
    uint32_t nr = region_nr_rows(view, REGION_THREADS);
    for (uint32_t id = 1; id < nr; id++) {
        const struct region_thread *row = region_row(view, REGION_THREADS, id);
        sum.allocations += row->allocations;
        sum.allocated_bytes += row->allocated_bytes;
        sum.frees += row->frees;
        sum.freed_bytes += row->freed_bytes;
        sum.temporary += row->temporary;
        sum.unknown_frees += row->unknown_frees;
        sum.unpublished += row->unpublished;
        uint64_t reached = header->live_bytes + (uint64_t)row->unpublished_peak;
        if (row->unpublished_peak > 0 && reached > peak)
            peak = reached;
    }
    fprintf(out,
            ",\n\"totals\":{\"allocations\":%" PRIu64 ",\"allocated_bytes\":%" PRIu64
            ",\"frees\":%" PRIu64 ",\"freed_bytes\":%" PRIu64 ",\"temporary\":%" PRIu64
            ",\"unknown_frees\":%" PRIu64 ",\"live_bytes\":%" PRId64 ",\"peak_bytes\":%" PRIu64
            ",\"table_blocks\":%" PRIu64 ",\"table_bytes\":%" PRIu64 "}",
            sum.allocations, sum.allocated_bytes, sum.frees, sum.freed_bytes, sum.temporary,
            sum.unknown_frees, (int64_t)header->live_bytes + sum.unpublished, peak, live->blocks,
            live->bytes);
}

static void print_region(FILE *out, size_t index)
{
    struct region_view view;
    struct error err;
    if (!region_view_fd(&view, host.regions[index].fd, &err)) {
        fprintf(stderr, "trace_host: %s\n", err.message);
        exit(125);
    }
    const struct region_header *header = view.header;
    fprintf(
        out,
        "{\"pid\":%u,\"asked_pid\":%d,\"state\":%u,\"nr_execs\":%u,\"asked\":%u,\"answered\":%u,"
        "\"generation\":%" PRIu64 ",\n\"lost\":[",
        header->pid, (int)host.pids[index], header->state, header->nr_execs, header->asked,
        header->answered, header->image_generation);
    for (int i = 0; i <= LOST_AWAIT_CUT; i++)
        fprintf(out, "%s%" PRIu64, i ? "," : "", header->lost[i]);
    fprintf(out, "]");
    print_threads(out, &view);
    print_tasks(out, &view);
    print_types(out, &view);
    print_sites(out, &view);
    print_images(out, &view);
    struct live_sum live = print_blocks(out, &view);
    print_totals(out, &view, &live);
    fprintf(out, "}");
    region_view_close(&view);
}

static void print_all(int status)
{
    FILE *out = host.output ? fopen(host.output, "w") : stdout;
    if (!out)
        die(host.output);
    fprintf(out, "{\"status\":%d,\"signal\":%d,\"reason\":\"%s\",\"regions\":[\n",
            WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            WIFSIGNALED(status) ? WTERMSIG(status) : 0, host.reason);
    for (size_t i = 0; i < host.nr_regions; i++) {
        fprintf(out, "%s", i ? ",\n" : "");
        print_region(out, i);
    }
    fprintf(out, "]}\n");
    if (fclose(out) != 0)
        die("output");
}

/* Some GB instead of two thousand. */
static const uint64_t small_tables[NR_REGION_TABLES] = {
    [REGION_TASKS] = 1 << 18,       [REGION_NODES] = 1 << 20,      [REGION_SITES] = 1 << 18,
    [REGION_SITE_COUNTS] = 1 << 18, [REGION_LIFETIMES] = 1 << 18,  [REGION_PLANS] = 1 << 24,
    [REGION_LIVE_CHUNKS] = 32,      [REGION_NODE_INDEX] = 1 << 23, [REGION_AWAIT_INDEX] = 1 << 20,
    [REGION_AWAITS] = 1 << 18,      [REGION_AWAIT_ENDS] = 1 << 18,
};

static void read_stacks(const char *word)
{
    host.options.stacks = !strcmp(word, "none")      ? REGION_STACKS_NONE
                          : !strcmp(word, "sampled") ? REGION_STACKS_SAMPLED
                                                     : REGION_STACKS_ALL;
}

int main(int argc, char **argv)
{
    host.kill_ms = -1;
    host.library = getenv("ASYNCMEM_TRACE_LIBRARY");
    for (int option; (option = getopt(argc, argv, "+o:l:s:m:fk:rbt")) != -1;) {
        switch (option) {
        case 'o':
            host.output = optarg;
            break;
        case 'l':
            host.library = optarg;
            break;
        case 's':
            read_stacks(optarg);
            break;
        case 'm':
            host.options.sample_bytes = strtoull(optarg, NULL, 0);
            break;
        case 'f':
            host.options.follows_children = true;
            break;
        case 'k':
            host.kill_ms = atol(optarg);
            break;
        case 'r':
            host.is_silent = true;
            break;
        case 'b':
            host.is_brief = true;
            break;
        case 't':
            host.options.max_rows = small_tables;
            break;
        default:
            return 125;
        }
    }
    host.program = argv + optind;
    if (!host.library || !host.program[0]) {
        fprintf(stderr, "trace_host: no library (-l), or no program\n");
        return 125;
    }
    signal(SIGPIPE, SIG_IGN);
    listen_here();
    int status = run_program();
    print_all(status);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
