/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The tracer's set-up (tracer/setup.h): ask the recorder for the region, map it, publish what is loaded, begin.
 * It happens inside the program's first allocation, or in our constructor, whichever is earlier.  Where
 * anything is missing the tracer steps aside for good, and tells the recorder why.
 *
 * `tracer_state` is wiped in a child of fork, where the region is not mapped; `phase` is not, so that the child
 * does not try again, unless it is to be traced too.
 */
#include "tracer/setup.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "recording/region_socket.h"
#include "tracer/children.h"
#include "tracer/environment.h"
#include "tracer/image_calls.h"
#include "tracer/images.h"
#include "tracer/real.h"
#include "tracer/syscalls.h"
#include "tracer/threads.h"

enum { STATE_PAGE_BYTES = 4096, HELLO_WAIT_S = 5 };
enum phase { NOT_TRIED, SETTING_UP, READY, OFF };

/* Alone in its page: in .bss beyond what the file holds, which is anonymous memory. */
static union {
    struct tracer state;
    char page[STATE_PAGE_BYTES];
} state_page __attribute__((aligned(STATE_PAGE_BYTES)));
extern struct tracer tracer_state __attribute__((alias("state_page"), visibility("hidden")));

static uint32_t phase; /* enum phase; atomic */

/* --- the socket -------------------------------------------------------------------------------------- */

static int connect_recorder(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if (length + 1 > sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path + 1, name, length);
    long fd = sys_call(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (sys_failed(fd))
        return -1;
    struct timeval wait = {HELLO_WAIT_S, 0};
    long args[6] = {fd, SOL_SOCKET, SO_RCVTIMEO, (long)&wait, sizeof(wait), 0};
    sys_call6(SYS_setsockopt, args);
    long size = (long)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    if (!sys_failed(sys_call(SYS_connect, fd, (long)&address, size)))
        return (int)fd;
    sys_call(SYS_close, fd, 0, 0);
    return -1;
}

/* The memfd, or -1: this process is not to be traced. */
static int receive_region(int socket)
{
    struct region_hello hello = {0};
    struct iovec bytes = {&hello, sizeof(hello)};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    long got;
    do { /* a handler, or SIGSTOP and SIGCONT */
        got = sys_call(SYS_recvmsg, socket, (long)&message, MSG_CMSG_CLOEXEC);
    } while (got == -EINTR);
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (sys_failed(got) || !header || header->cmsg_level != SOL_SOCKET ||
        header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int)))
        return -1;
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    if (got == sizeof(hello) && hello.version == REGION_HELLO_VERSION && hello.is_traced)
        return fd;
    sys_call(SYS_close, fd, 0, 0);
    return -1;
}

static void tell_reason(int socket, const char *reason)
{
    long args[6] = {socket, (long)reason, (long)strlen(reason), MSG_NOSIGNAL, 0, 0};
    sys_call6(SYS_sendto, args);
}

/* --- the region -------------------------------------------------------------------------------------- */

static const char *limit_reason(void)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    long args[6] = {0, RLIMIT_AS, 0, (long)&limit, 0, 0};
    sys_call6(SYS_prlimit64, args);
    return limit.rlim_cur == RLIM_INFINITY
               ? NULL
               : "its address space is limited (ulimit -v), which leaves no room for the tables";
}

static const char *map_region(int fd, struct region_header **region)
{
    struct stat status;
    if (sys_failed(sys_call(SYS_fstat, fd, (long)&status, 0)) ||
        status.st_size < (off_t)sizeof(struct region_header))
        return "the recorder's memory could not be looked at";
    size_t bytes = (size_t)status.st_size;
    struct region_header *header = sys_map(bytes, fd);
    if (!header)
        return "the recorder's memory could not be mapped";
    const char *reason = NULL;
    if (memcmp(header->magic, REGION_MAGIC, sizeof(header->magic)) != 0 ||
        header->version != REGION_VERSION || header->header_bytes != sizeof(*header) ||
        header->region_bytes != bytes)
        reason = "the tracer's library is of another version of asyncmem";
    else if (sys_failed(sys_call(SYS_madvise, (long)header, (long)bytes, MADV_DONTFORK)))
        reason = "the kernel cannot keep memory from children (MADV_DONTFORK)";
    if (reason) {
        sys_unmap(header, bytes);
        return reason;
    }
    sys_call(SYS_madvise, (long)header, (long)bytes, MADV_DONTDUMP);
    *region = header;
    return NULL;
}

/* A program may forbid itself the processor's counter. */
static bool may_read_counter(void)
{
    int mode = PR_TSC_ENABLE;
    sys_call(SYS_prctl, PR_GET_TSC, (long)&mode, 0);
    return mode == PR_TSC_ENABLE;
}

static void find_tables(struct tracer *tracer, struct region_header *region)
{
    uint8_t *base = (uint8_t *)region;
    const struct region_table *tables = region->tables;
    tracer->region = region;
    tracer->tasks = (void *)(base + tables[REGION_TASKS].offset_bytes);
    tracer->threads = (void *)(base + tables[REGION_THREADS].offset_bytes);
    tracer->live_index = (void *)(base + tables[REGION_LIVE_INDEX].offset_bytes);
    tracer->live_chunks = base + tables[REGION_LIVE_CHUNKS].offset_bytes;
    tracer->sites = (void *)(base + tables[REGION_SITES].offset_bytes);
    tracer->site_counts = (void *)(base + tables[REGION_SITE_COUNTS].offset_bytes);
    tracer->lifetimes = (void *)(base + tables[REGION_LIFETIMES].offset_bytes);
    tracer->types = (void *)(base + tables[REGION_TYPES].offset_bytes);
    tracer->type_sums = (void *)(base + tables[REGION_TYPE_SUMS].offset_bytes);
    tracer->stacks = region->stacks;
    tracer->sample_bytes = (double)region->sample_bytes;
    tracer->granule_log2 = real_is_glibc() ? 5 : 3;
    tracer->pid = (uint32_t)sys_getpid();
    tracer->has_tsc = region->has_tsc && may_read_counter();
}

static const char *begin_tracing(struct tracer *tracer, struct region_header *region)
{
    if (sys_failed(sys_call(SYS_madvise, (long)&state_page, sizeof(state_page), MADV_WIPEONFORK)))
        return "the kernel cannot wipe memory in children (MADV_WIPEONFORK, Linux 4.14)";
    find_tables(tracer, region);
    if (!threads_init(tracer))
        return "there is no memory for the tracer's own state";
    region->pid = tracer->pid;
    children_begin();
    image_calls_begin();
    if (!images_begin(tracer))
        return "there is no memory for the tracer's own state";
    __atomic_store_n(&region->state, REGION_TRACING, __ATOMIC_RELEASE);
    __atomic_store_n(&tracer->ready, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* The reason why not; NULL: it is set up, or nobody wants it (`is_wanted` says which). */
static const char *try_to_trace(int socket, bool *is_wanted)
{
    int fd = receive_region(socket);
    *is_wanted = fd >= 0;
    if (fd < 0)
        return NULL;
    struct region_header *region = NULL;
    const char *reason = limit_reason();
    if (!reason)
        reason = map_region(fd, &region);
    sys_call(SYS_close, fd, 0, 0);
    if (!region)
        return reason;
    if (!region->follows_children)
        environment_hide();
    return begin_tracing(tracer_page, region);
}

static enum phase set_up(void)
{
    const char *name = environment_socket();
    int socket = name ? connect_recorder(name) : -1;
    if (socket < 0)
        return OFF;
    bool is_wanted = false;
    const char *reason = try_to_trace(socket, &is_wanted);
    if (reason)
        tell_reason(socket, reason);
    if (reason || !is_wanted)
        environment_hide();
    sys_call(SYS_close, socket, 0, 0);
    return is_wanted && !reason ? READY : OFF;
}

bool trace_setup(void)
{
    uint32_t seen = __atomic_load_n(&phase, __ATOMIC_ACQUIRE);
    if (__builtin_expect(seen != NOT_TRIED, 1))
        return seen == READY && tracer_page->ready;
    if (!real_get() || !__atomic_compare_exchange_n(&phase, &seen, SETTING_UP, false,
                                                    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return false;
    enum phase result = environment_read() ? set_up() : OFF;
    __atomic_store_n(&phase, result, __ATOMIC_RELEASE);
    return result == READY;
}

void trace_setup_again(void)
{
    __atomic_store_n(&phase, SETTING_UP, __ATOMIC_RELAXED);
    enum phase result = set_up();
    __atomic_store_n(&phase, result, __ATOMIC_RELEASE);
}

/* The program may not allocate before main, or ever. */
__attribute__((constructor)) static void begin_at_start(void)
{
    struct stack_start nowhere = {0};
    if (real_get())
        thread_enter(&nowhere);
}
