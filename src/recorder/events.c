/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The recorder's loop: waits for whatever happens first and deals with it.  Nothing here takes long, as the program
 * may be waiting for the answer; what takes long is done by helpers.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "recorder/recorder_part.h"

enum { EAGER_NS = 500000000, EAGER_MS = 5 };
enum { MAX_CHILDREN = CLOCK_MAX_REGIONS - 2, MAX_FILES = 8 + SERVE_MAX_ASKERS + MAX_CHILDREN };

uint64_t recorder_clock_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

struct traced *recorder_find(const struct recorder *recorder, uint32_t generation)
{
    if (recorder->main && recorder->main->generation == generation)
        return recorder->main;
    for (size_t i = 0; i < recorder->nr_children; i++)
        if (recorder->children[i]->generation == generation)
            return recorder->children[i];
    return NULL;
}

/* --- programs that ask for their region ---------------------------------------------------------- */

/* In the place of the one that it replaced. */
static struct traced *replace(struct recorder *recorder, struct traced *old)
{
    struct error err;
    struct traced *traced = traced_new(&recorder->options->region, &recorder->clock, &err);
    if (!traced)
        return NULL;
    traced_set_pid(traced, old->pid);
    traced->pid_fd = old->pid_fd;
    old->pid_fd = -1;
    return traced;
}

static struct traced *for_main(struct recorder *recorder)
{
    struct traced *old = recorder->main;
    if (!old->is_given)
        return old;
    struct traced *traced = replace(recorder, old);
    if (!traced)
        return NULL;
    recorder->nr_execs++;
    recorder->main = traced;
    recorder->snapshot_peak_bytes = 0;
    recorder->is_answer_due = false;
    traced_free(old, &recorder->clock);
    return traced;
}

static struct traced *new_child(struct recorder *recorder, pid_t pid)
{
    struct error err;
    struct traced *traced = recorder->nr_children < MAX_CHILDREN
                                ? traced_new(&recorder->options->region, &recorder->clock, &err)
                                : NULL;
    if (!traced)
        return NULL;
    traced_set_pid(traced, pid);
    traced->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    recorder->children = array_reserve(recorder->children, &recorder->children_capacity,
                                       recorder->nr_children + 1, sizeof(struct traced *));
    recorder->children[recorder->nr_children++] = traced;
    return traced;
}

static struct traced *for_child(struct recorder *recorder, pid_t pid)
{
    for (size_t i = 0; i < recorder->nr_children; i++) {
        struct traced *old = recorder->children[i];
        if (old->pid != pid || old->has_ended)
            continue;
        struct traced *traced = replace(recorder, old);
        if (!traced)
            return NULL;
        recorder->children[i] = traced;
        traced_free(old, &recorder->clock);
        return traced;
    }
    return new_child(recorder, pid);
}

/* Only the program itself, and with --follow-children what the same user runs below it. */
static void answer_asker(struct recorder *recorder)
{
    pid_t pid;
    uid_t uid;
    int connection = serve_accept(&recorder->serve, &pid, &uid);
    if (connection < 0)
        return;
    struct traced *traced = NULL;
    if (recorder->main && pid == recorder->pid)
        traced = for_main(recorder);
    else if (recorder->main && recorder->options->region.follows_children && uid == geteuid())
        traced = for_child(recorder, pid);
    if (traced)
        traced_start(traced, traced == recorder->main ? recorder->nr_execs : 0);
    serve_answer(&recorder->serve, connection, pid, traced ? traced->region.fd : -1);
}

static void listen_to(struct recorder *recorder, size_t asker)
{
    char reason[256];
    pid_t pid = recorder->serve.askers[asker].pid;
    serve_listen(&recorder->serve, asker, reason, sizeof(reason));
    if (*reason && recorder->main && pid == recorder->main->pid)
        memcpy(recorder->main->reason, reason, sizeof(reason));
}

/* --- processes that end -------------------------------------------------------------------------- */

static void take_child(struct recorder *recorder, pid_t pid, int status, const struct rusage *usage)
{
    if (pid != recorder->pid)
        return; /* a helper, whose socket tells; or an orphan that was given to us as process 1 */
    if (WIFSTOPPED(status)) {
        signals_stop_too(&recorder->signals, WSTOPSIG(status));
        return;
    }
    recorder->has_ended = true;
    recorder->wait_status = status;
    recorder->max_rss_bytes = (uint64_t)usage->ru_maxrss << 10;
    recorder->signals.program = 0;
}

static void reap(struct recorder *recorder)
{
    int status;
    pid_t pid;
    struct rusage usage;
    while ((pid = wait4(-1, &status, WNOHANG | WUNTRACED, &usage)) > 0)
        take_child(recorder, pid, status, &usage);
}

static void take_signals(struct recorder *recorder)
{
    struct signalfd_siginfo info;
    uint64_t now_ns = recorder_clock_ns();
    while (read(recorder->manners.signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue; /* reaped below, whoever sent it */
        bool ends = info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT ||
                    info.ssi_signo == SIGQUIT || info.ssi_signo == SIGHUP;
        recorder->is_hurried |= recorder->has_ended && ends;
        signals_take(&recorder->signals, &info, now_ns);
    }
    reap(recorder);
}

/* --- all files at once --------------------------------------------------------------------------- */

struct files {
    struct pollfd all[MAX_FILES];
    size_t nr;
};

/* Its place in files->all. */
static size_t add(struct files *files, int fd)
{
    files->all[files->nr] = (struct pollfd){fd, POLLIN, 0}; /* -1 is passed over */
    return files->nr++;
}

static size_t add_helper(struct files *files, const struct helper *helper)
{
    return add(files, helper->pid ? helper->fd : -1);
}

static void take_helpers(struct recorder *recorder, const struct files *files, size_t first)
{
    static const struct {
        size_t offset;
        void (*take)(struct recorder *recorder);
    } helpers[] = {{offsetof(struct recorder, packer), checkpoint_take},
                   {offsetof(struct recorder, planner), plans_take},
                   {offsetof(struct recorder, snapshotter), stored_snapshot_take}};
    for (size_t i = 0; i < sizeof(helpers) / sizeof(*helpers); i++) {
        struct helper *helper = (struct helper *)((char *)recorder + helpers[i].offset);
        if (!files->all[first + i].revents)
            continue;
        if (helper->is_busy)
            helpers[i].take(recorder);
        else
            helper_end(helper); /* it was killed while nobody asked it anything */
    }
}

static void take_ends_of_children(struct recorder *recorder, const struct files *files,
                                  size_t first, size_t nr)
{
    for (size_t i = 0; i < nr; i++)
        recorder->children[i]->has_ended |= files->all[first + i].revents != 0;
}

/* Recorded children are forgotten. */
static void drop_children(struct recorder *recorder)
{
    size_t nr = 0;
    for (size_t i = 0; i < recorder->nr_children; i++) {
        struct traced *child = recorder->children[i];
        if (child->is_packed && !recorder->packer.is_busy)
            traced_free(child, &recorder->clock);
        else
            recorder->children[nr++] = child;
    }
    recorder->nr_children = nr;
}

static void wait_and_take(struct recorder *recorder, int timeout_ms)
{
    struct files files = {0};
    add(&files, recorder->manners.signal_fd);
    add(&files, recorder->serve.fd);
    add(&files, recorder->clock.asked_fd);
    add(&files, recorder->signals.witness.fd);
    size_t helpers = add_helper(&files, &recorder->packer);
    add_helper(&files, &recorder->planner);
    add_helper(&files, &recorder->snapshotter);
    size_t askers = files.nr, nr_askers = recorder->serve.nr_askers;
    for (size_t i = 0; i < nr_askers; i++)
        add(&files, recorder->serve.askers[i].fd);
    size_t children = files.nr, nr_children = recorder->nr_children;
    for (size_t i = 0; i < nr_children; i++)
        add(&files, recorder->children[i]->has_ended ? -1 : recorder->children[i]->pid_fd);
    if (poll(files.all, files.nr, timeout_ms) <= 0)
        return;
    eventfd_t ignored;
    if (files.all[2].revents && eventfd_read(recorder->clock.asked_fd, &ignored) == 0)
        stored_snapshot_asked(recorder);
    if (files.all[3].revents)
        signals_take_report(&recorder->signals, recorder_clock_ns());
    take_helpers(recorder, &files, helpers);
    for (size_t i = nr_askers; i-- > 0;)
        if (files.all[askers + i].revents)
            listen_to(recorder, i);
    take_ends_of_children(recorder, &files, children, nr_children);
    if (files.all[1].revents)
        answer_asker(recorder);
    if (files.all[0].revents)
        take_signals(recorder);
}

/* --- what is due --------------------------------------------------------------------------------- */

static void look(struct recorder *recorder)
{
    if (recorder->main && recorder->main->is_given) {
        struct traced *traced = recorder->main;
        stored_snapshot_tick(recorder, traced_look(traced));
        plans_tick(recorder);
    }
    for (size_t i = 0; i < recorder->nr_children; i++) {
        struct traced *child = recorder->children[i];
        if (!child->has_ended)
            traced_look(child);
    }
}

static int do_what_is_due(struct recorder *recorder)
{
    uint64_t now_ns = recorder_clock_ns();
    if (now_ns >= recorder->next_look_ns) {
        look(recorder);
        recorder->next_look_ns = now_ns + (uint64_t)SAMPLE_PERIOD_MS * 1000000;
    }
    checkpoint_tick(recorder, now_ns);
    drop_children(recorder);
    int signals_ms = signals_pass(&recorder->signals, now_ns);
    int look_ms = (int)((recorder->next_look_ns - now_ns) / 1000000) + 1;
    if (!recorder->main)
        look_ms = 1000;
    else if (recorder->main->is_given && traced_now_ns(recorder->main) < EAGER_NS) {
        plans_tick(recorder); /* tasks may end early, and want to be told by their await */
        look_ms = look_ms < EAGER_MS ? look_ms : EAGER_MS;
    }
    return signals_ms >= 0 && signals_ms < look_ms ? signals_ms : look_ms;
}

void recorder_loop(struct recorder *recorder)
{
    reap(recorder); /* it may have ended before we listened */
    while (!recorder->has_ended)
        wait_and_take(recorder, do_what_is_due(recorder));
}

void recorder_wait_packer(struct recorder *recorder)
{
    while (recorder->packer.is_busy && !recorder->is_hurried)
        wait_and_take(recorder, 1000);
}
