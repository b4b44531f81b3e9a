/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Rows are matched against the path with its arguments left out: from the start, and where `end`
 * is given also at the end.  They only add words; layouts and chains never depend on them.
 */
#include "model/leaf_names.h"

#include <stddef.h>
#include <string.h>

#include "base/text.h"

static const struct {
    const char *begin;
    const char *end; /* NULL: anything may follow */
    const char *words;
} leaves[] = {
    {"tokio::time::sleep::Sleep", NULL, "sleep"},
    {"tokio::time::interval::", "::tick", "interval tick"},
    {"tokio::time::timeout::Timeout", NULL, "timeout"},
    {"tokio::sync::mutex::", "::lock", "mutex lock"},
    {"tokio::sync::mutex::", "::lock_owned", "mutex lock"},
    {"tokio::sync::mutex::", "::acquire", "mutex lock"},
    {"tokio::sync::rwlock::", "::read", "rwlock read"},
    {"tokio::sync::rwlock::", "::read_owned", "rwlock read"},
    {"tokio::sync::rwlock::", "::write", "rwlock write"},
    {"tokio::sync::rwlock::", "::write_owned", "rwlock write"},
    {"tokio::sync::semaphore::", NULL, "semaphore permit"},
    {"tokio::sync::batch_semaphore::Acquire", NULL, "semaphore permit"},
    {"tokio::sync::notify::Notified", NULL, "notification"},
    {"tokio::sync::notify::OwnedNotified", NULL, "notification"},
    {"tokio::sync::oneshot::Receiver", NULL, "oneshot receive"},
    {"tokio::sync::oneshot::", "::closed", "oneshot receiver to close"},
    {"tokio::sync::mpsc::", "::recv", "channel receive"},
    {"tokio::sync::mpsc::", "::recv_many", "channel receive"},
    {"tokio::sync::mpsc::", "::send", "channel send"},
    {"tokio::sync::mpsc::", "::reserve", "channel send"},
    {"tokio::sync::mpsc::", "::reserve_inner", "channel send"},
    {"tokio::sync::mpsc::", "::closed", "channel to close"},
    {"tokio::sync::broadcast::", "::recv", "broadcast receive"},
    {"tokio::sync::broadcast::Recv", NULL, "broadcast receive"},
    {"tokio::sync::watch::", "::changed", "watch change"},
    {"tokio::sync::watch::", "::changed_impl", "watch change"},
    {"tokio::sync::watch::", "::wait_for", "watch change"},
    {"tokio::sync::watch::", "::wait_for_inner", "watch change"},
    {"tokio::sync::watch::", "::closed", "watch receivers to close"},
    {"tokio::sync::barrier::", NULL, "barrier"},
    {"tokio::sync::once_cell::", NULL, "once cell"},
    {"tokio::runtime::task::join::JoinHandle", NULL, "task to end (JoinHandle)"},
    {"tokio::task::join_set::", NULL, "task to end (JoinSet)"},
    {"tokio::task::yield_now::", NULL, "next turn (yield_now)"},
    {"tokio::task::local::RunUntil", NULL, "LocalSet::run_until"},
    {"tokio::net::", "::accept", "socket accept"},
    {"tokio::net::", "::connect", "socket connect"},
    {"tokio::net::", "::connect_mio", "socket connect"},
    {"tokio::net::", "::recv", "socket read"},
    {"tokio::net::", "::recv_from", "socket read"},
    {"tokio::net::", "::peek", "socket read"},
    {"tokio::net::", "::send", "socket write"},
    {"tokio::net::", "::send_to", "socket write"},
    {"tokio::net::", "::readable", "socket readable"},
    {"tokio::net::", "::writable", "socket writable"},
    {"tokio::net::", "::ready", "socket ready"},
    {"tokio::net::addr::", NULL, "address look-up"},
    {"tokio::io::util::read", NULL, "read"},
    {"tokio::io::util::fill_buf", NULL, "read"},
    {"tokio::io::util::write", NULL, "write"},
    {"tokio::io::util::flush", NULL, "write to flush"},
    {"tokio::io::util::shutdown", NULL, "shutdown of a writer"},
    {"tokio::io::util::copy", NULL, "copy"},
    {"tokio::io::util::lines", NULL, "line"},
    {"tokio::runtime::io::registration::", NULL, "socket ready"},
    {"tokio::signal::", NULL, "signal"},
    {"tokio::process::", "::wait", "child process"},
    {"tokio::fs::", NULL, "file operation"},
    {"tokio::future::poll_fn::PollFn", NULL, "poll_fn"},
    {"core::future::poll_fn::PollFn", NULL, "poll_fn"},
    {"tokio::trace::async_trace_leaf", NULL, "nothing (ready)"},
    {"tokio_util::sync::cancellation_token::WaitForCancellationFuture", NULL, "cancellation"},
    {"tokio_util::task::task_tracker::TaskTrackerWaitFuture", NULL, "tasks to end (TaskTracker)"},
    {"async_stream::yielder::Send", NULL, "yield of a stream"},
    {"futures_util::sink::send::Send", NULL, "room in a sink"},
    {"core::future::pending::Pending", NULL, "nothing (pending for ever)"},
    {"core::future::ready::Ready", NULL, "nothing (ready)"},
    {"futures_util::future::join_all::JoinAll", NULL, "all of many futures"},
    {"futures_util::future::try_join_all::TryJoinAll", NULL, "all of many futures"},
    {"futures_util::future::select_all::", NULL, "first of many futures"},
    {"futures_util::future::select::Select", NULL, "first of two futures"},
    {"futures_util::stream::stream::next::Next", NULL, "next item of a stream"},
    {"tokio_stream::stream_ext::next::Next", NULL, "next item of a stream"},
    {"async_io::Timer", NULL, "sleep"},
    {"async_io::Readable", NULL, "socket ready"},
    {"async_io::Writable", NULL, "socket ready"},
    {"async_io::Async", "::accept", "socket accept"},
    {"async_io::Async", "::connect", "socket connect"},
    {"async_io::Async", "::readable", "socket readable"},
    {"async_io::Async", "::writable", "socket writable"},
    {"async_io::Async", "::read_with", "socket ready"},
    {"async_io::Async", "::write_with", "socket ready"},
    {"async_io::Async", "::recv_from", "socket read"},
    {"async_io::Async", "::send_to", "socket write"},
    {"async_lock::mutex::Lock", NULL, "mutex lock"},
    {"async_lock::rwlock::futures::Read", NULL, "rwlock read"},
    {"async_lock::rwlock::futures::UpgradableRead", NULL, "rwlock read"},
    {"async_lock::rwlock::futures::Write", NULL, "rwlock write"},
    {"async_lock::rwlock::futures::Upgrade", NULL, "rwlock write"},
    {"async_lock::semaphore::Acquire", NULL, "semaphore permit"},
    {"async_lock::barrier::BarrierWait", NULL, "barrier"},
    {"async_channel::Send", NULL, "channel send"},
    {"async_channel::Recv", NULL, "channel receive"},
    {"async_task::task::Task", NULL, "task to end"},
    {"async_std::task::join_handle::JoinHandle", NULL, "task to end (JoinHandle)"},
    {"event_listener::EventListener", NULL, "notification"},
    {"blocking::unblock", NULL, "blocking task"},
    {"futures_lite::future::yield_now::YieldNow", NULL, "next turn (yield_now)"},
    {"futures_lite::future::YieldNow", NULL, "next turn (yield_now)"},
    {"futures_lite::future::Pending", NULL, "nothing (pending for ever)"},
    {"futures_lite::stream::NextFuture", NULL, "next item of a stream"},
    {"futures_lite::io::Read", NULL, "read"},
    {"futures_lite::io::Write", NULL, "write"},
    {"futures_channel::oneshot::Receiver", NULL, "oneshot receive"},
    {"futures_channel::mpsc::", NULL, "channel receive"},
};

/* The path without arguments, and without a leading "<": "<a::B<C> as D>::e" begins like "a::B". */
static void strip_arguments(const char *name, struct text *path)
{
    int depth = 0;
    for (const char *p = name + (*name == '<'); *p; p++) {
        if (*p == '<')
            depth++;
        else if (*p == '>' && depth)
            depth--;
        else if (!depth)
            text_append_char(path, *p);
    }
}

const char *leaf_name(const char *name)
{
    struct text path;
    text_init(&path);
    strip_arguments(name, &path);
    const char *words = NULL;
    for (size_t i = 0; !words && i < sizeof(leaves) / sizeof(*leaves); i++)
        if (str_starts_with(text_str(&path), leaves[i].begin) &&
            (!leaves[i].end || str_ends_with(text_str(&path), leaves[i].end)))
            words = leaves[i].words;
    text_deinit(&path);
    /* A read of what? The argument tells. */
    bool is_socket = strstr(name, "TcpStream") || strstr(name, "UnixStream") ||
                     strstr(name, "tcp::split") || strstr(name, "OwnedReadHalf") ||
                     strstr(name, "OwnedWriteHalf");
    if (words && is_socket && strcmp(words, "read") == 0)
        return "socket read";
    if (words && is_socket && strcmp(words, "write") == 0)
        return "socket write";
    return words;
}

bool leaf_tells(const char *words)
{
    return words && strcmp(words, "poll_fn") != 0;
}
