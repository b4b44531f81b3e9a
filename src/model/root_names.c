/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A frame has two names.  The linkage name has the path of the function, without its arguments where
 * it is of the legacy form: tokio::runtime::runtime::Runtime::block_on, or in the v0 form
 * <tokio::runtime::runtime::Runtime>::block_on::<F>.  DWARF's name has the last step and its
 * arguments: block_on<F>.
 */
#include "model/root_names.h"

#include <string.h>

#include "base/rust_path.h"

static bool begins(struct name_span span, const char *prefix)
{
    size_t length = strlen(prefix);
    return span.length >= length && memcmp(span.text, prefix, length) == 0;
}

static struct name_span without_first(struct name_span span, size_t length)
{
    return (struct name_span){span.text + length, span.length - length};
}

/* `function` is the method `method` of `owner`. */
static bool is_method(const char *function, const char *owner, const char *method)
{
    size_t owner_length = strlen(owner), method_length = strlen(method);
    function += *function == '<';
    if (strncmp(function, owner, owner_length) != 0)
        return false;
    function += owner_length;
    function += *function == '>';
    if (strncmp(function, "::", 2) != 0 || strncmp(function + 2, method, method_length) != 0)
        return false;
    function += 2 + method_length;
    return !*function || strncmp(function, "::<", 3) == 0;
}

bool root_names_entry(const struct frame *frame, struct name_span *future)
{
    static const char *const owners[] = {
        "tokio::runtime::runtime::Runtime",
        "tokio::runtime::handle::Handle",
        "tokio::runtime::local_runtime::runtime::LocalRuntime",
    };
    static const char name[] = "block_on<";
    size_t length = frame->name ? strlen(frame->name) : 0;
    if (length <= sizeof(name) || strncmp(frame->name, name, sizeof(name) - 1) != 0 ||
        frame->name[length - 1] != '>')
        return false;
    *future = (struct name_span){frame->name + sizeof(name) - 1, length - sizeof(name)};
    for (size_t i = 0; i < sizeof(owners) / sizeof(*owners); i++)
        if (is_method(frame->function, owners[i], "block_on"))
            return true;
    return false;
}

enum task_scheduler root_names_scheduler(const struct frame *frame)
{
    static const char multi_thread[] = "tokio::runtime::scheduler::multi_thread::MultiThread";
    static const char current_thread[] = "tokio::runtime::scheduler::current_thread::CurrentThread";
    if (!frame->function)
        return TASK_SCHEDULER_UNKNOWN;
    return is_method(frame->function, multi_thread, "block_on")     ? TASK_SCHEDULER_MULTI_THREAD
           : is_method(frame->function, current_thread, "block_on") ? TASK_SCHEDULER_CURRENT_THREAD
                                                                    : TASK_SCHEDULER_UNKNOWN;
}

bool root_names_is_parked(const struct frame *frame)
{
    static const char *const places[] = {
        "tokio::runtime::park::Inner",
        "tokio::runtime::driver::Driver",
        "tokio::runtime::scheduler::current_thread::Context::park",
        "tokio::runtime::scheduler::current_thread::Context>::park",
    };
    for (size_t i = 0; frame->function && i < sizeof(places) / sizeof(*places); i++)
        if (strstr(frame->function, places[i]))
            return true;
    return false;
}

bool root_names_is_foreign(const struct frame *frame)
{
    static const char *const crates[] = {
        "tokio::runtime::", "tokio::task::", "tokio::loom::", "tokio::util::",
        "tokio::future::",  "core::",        "alloc::",       "std::",
    };
    const char *function = frame->function;
    if (!function)
        return false;
    function += *function == '<';
    function += strncmp(function, "&mut ", 5) == 0 ? 5 : 0;
    for (size_t i = 0; i < sizeof(crates) / sizeof(*crates); i++)
        if (str_starts_with(function, crates[i]))
            return false;
    return strstr(function, "::") != NULL; /* a C function is nobody's */
}

bool root_names_is_task(const struct frame *frame)
{
    return frame->function && (strstr(frame->function, "tokio::runtime::task::harness::") ||
                               strstr(frame->function, "tokio::runtime::task::raw::"));
}

bool root_names_local(struct name_span future, struct name_span *inner)
{
    static const char run_until[] = "::run_until::{async_fn_env#0}<", of_struct[] = "RunUntil<";
    static const char module[] = "tokio::task::local::";
    if (!begins(future, module) || future.text[future.length - 1] != '>')
        return false;
    struct name_span rest = without_first(future, sizeof(module) - 1);
    if (begins(rest, "{impl#")) /* the impl of LocalSet, whose number varies */
        while (rest.length && !begins(rest, "::"))
            rest = without_first(rest, 1);
    const char *prefix = begins(rest, run_until) ? run_until : of_struct;
    if (!begins(rest, prefix))
        return false;
    *inner = without_first(rest, strlen(prefix));
    inner->length--;
    return inner->length > 0;
}

bool root_names_is_local_set(struct name_span future)
{
    static const char local_set[] = "tokio::task::local::LocalSet";
    while (begins(future, "&mut "))
        future = without_first(future, 5);
    return future.length == sizeof(local_set) - 1 && begins(future, local_set);
}

struct name_span root_names_behind_boxes(struct name_span future)
{
    static const char pin[] = "core::pin::Pin<", box[] = "alloc::boxed::Box<";
    for (;;) {
        const char *wrapper = begins(future, pin)       ? pin
                              : begins(future, box)     ? box
                              : begins(future, "&mut ") ? "&mut "
                                                        : NULL;
        if (!wrapper)
            return future;
        future = without_first(future, strlen(wrapper));
        if (*wrapper == '&')
            continue;
        /* up to the outer comma or ">": a Box has an allocator, too */
        size_t depth = 0, i = 0;
        for (; i < future.length; i++) {
            char c = future.text[i];
            bool is_arrow = c == '>' && i && future.text[i - 1] == '-';
            if (!depth && (c == ',' || (c == '>' && !is_arrow)))
                break;
            depth += c == '<' || c == '(' || c == '[';
            depth -= depth && ((c == '>' && !is_arrow) || c == ')' || c == ']');
        }
        future.length = i;
    }
}

/* --- bodies ---------------------------------------------------------------------------------- */

static struct name_span last_step(struct name_span path)
{
    size_t parent = rust_path_parent(path.text, path.length, 1);
    return parent ? without_first(path, parent + 2) : path;
}

/* The step before the last, without arguments; empty where it is no word of the source. */
static struct name_span word_before(struct name_span path)
{
    struct name_span step = {path.text, rust_path_parent(path.text, path.length, 1)};
    step = last_step(step);
    for (size_t i = 0; i < step.length; i++)
        if (strchr("<{>[", step.text[i])) {
            step.length = i;
            break;
        }
    return step;
}

/* {async_fn#0}<T> is the body of {async_fn_env#0}<T>. */
static bool is_body_of_step(const char *name, struct name_span step)
{
    static const char env[] = "_env#";
    const char *at = memmem(step.text, step.length, env, sizeof(env) - 1);
    if (!at)
        return false;
    size_t head = (size_t)(at - step.text);
    struct name_span tail = without_first(step, head + sizeof(env) - 2);
    return strlen(name) == head + tail.length && strncmp(name, step.text, head) == 0 &&
           memcmp(name + head, tail.text, tail.length) == 0;
}

static bool is_body_of_fn(const struct frame *frame, struct name_span future)
{
    if (!is_body_of_step(frame->name, last_step(future)))
        return false;
    struct text path;
    text_init(&path);
    text_append_str(&path, frame->function);
    rust_path_source_form(&path);
    struct name_span own = word_before((struct name_span){text_str(&path), path.length});
    struct name_span wanted = word_before(future);
    bool equal = !own.length || !wanted.length ||
                 (own.length == wanted.length && memcmp(own.text, wanted.text, own.length) == 0);
    text_deinit(&path);
    return equal;
}

static bool is_poll(const struct frame *frame, struct name_span future)
{
    static const char poll[] = "poll";
    const char *behind = frame->name + sizeof(poll) - 1;
    if (strncmp(frame->name, poll, sizeof(poll) - 1) != 0 || (*behind && *behind != '<'))
        return false;
    const char *arguments = memchr(future.text, '<', future.length);
    size_t length = arguments ? (size_t)(arguments - future.text) : future.length;
    return length && memmem(frame->function, strlen(frame->function), future.text, length);
}

bool root_names_is_body(const struct frame *frame, struct name_span future)
{
    if (!frame->name || !frame->function)
        return false;
    return last_step(future).text[0] == '{' ? is_body_of_fn(frame, future) : is_poll(frame, future);
}
