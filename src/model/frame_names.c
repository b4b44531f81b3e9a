/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A function's demangled linkage name has its path, of which the legacy form calls closures and bodies of async
 * functions alike {{closure}}; DWARF's name of the last step tells them apart (program/symbolize.h).
 */
#include "model/frame_names.h"

#include <ctype.h>
#include <string.h>

#include "base/rust_path.h"
#include "model/names.h"
#include "model/root_names.h"

/* --- short names ----------------------------------------------------------------------------- */

enum { MAX_STEPS = 64 };

struct steps {
    struct name_span rows[MAX_STEPS];
    unsigned nr;
};

/* The last steps, where there are too many. */
static void read_steps(const char *path, size_t length, struct steps *steps)
{
    steps->nr = 0;
    while (length) {
        size_t step = rust_path_step(path, length);
        if (steps->nr == MAX_STEPS)
            memmove(steps->rows, steps->rows + 1, --steps->nr * sizeof(*steps->rows));
        steps->rows[steps->nr++] = (struct name_span){path, step};
        step += length - step >= 2 ? 2 : length - step;
        path += step;
        length -= step;
    }
}

static bool is_made_by_compiler(struct name_span step)
{
    return !step.length || *step.text == '{';
}

/* A type or impl, whose method the next step is. */
static bool is_type(struct name_span step)
{
    return step.length && (isupper((unsigned char)*step.text) || *step.text == '<');
}

/* "Vec<u8>" as "Vec". */
static void append_word(struct name_span step, struct text *out)
{
    const char *arguments = memchr(step.text, '<', step.length);
    text_append(out, step.text, arguments ? (size_t)(arguments - step.text) : step.length);
}

/* "<alloc::vec::Vec<u8>>" as "Vec", "<demo::Conn as demo::Handler>" as "<Conn as Handler>". */
static void append_type(struct name_span step, struct text *out)
{
    static const struct names no_impls;
    struct text inner;
    if (*step.text != '<') {
        append_word(step, out);
        return;
    }
    text_init(&inner);
    text_append(&inner, step.text, step.length);
    rust_path_unwrap(&inner);
    if (*text_str(&inner) == '<') {
        names_type(&no_impls, text_str(&inner), NAME_SHORT, out);
    } else {
        struct steps steps;
        read_steps(text_str(&inner), inner.length, &steps);
        if (steps.nr)
            append_word(steps.rows[steps.nr - 1], out);
    }
    text_deinit(&inner);
}

/* What the body of a closure or async block is called behind its function. */
static void append_body(const char *name, struct text *out)
{
    static const struct {
        const char *begin, *shown;
    } bodies[] = {{"{async_block#", "::{async block#"},
                  {"{async_closure#", "::{async closure#"},
                  {"{closure#", "::{closure#"}};
    for (size_t i = 0; name && i < sizeof(bodies) / sizeof(*bodies); i++) {
        if (!str_starts_with(name, bodies[i].begin))
            continue;
        const char *number = name + strlen(bodies[i].begin);
        text_printf(out, "%s%.*s}", bodies[i].shown, (int)strspn(number, "0123456789"), number);
        return;
    }
    if (!name || !str_starts_with(name, "{async_fn#"))
        text_append_str(out, "::{closure}");
}

void frame_short_name(const struct frame *frame, struct text *out)
{
    struct text path;
    struct steps steps;
    const char *function = frame->function ? frame->function : "";
    text_init(&path);
    text_append_str(&path, function);
    if (strstr(function, "::"))
        rust_path_source_form(&path);
    read_steps(text_str(&path), path.length, &steps);
    unsigned word = steps.nr;
    while (word && is_made_by_compiler(steps.rows[word - 1]))
        word--;
    if (word && strstr(function, "::")) {
        if (word > 1 && is_type(steps.rows[word - 2])) {
            append_type(steps.rows[word - 2], out);
            text_append_str(out, "::");
        }
        if (*steps.rows[word - 1].text == '<')
            append_type(steps.rows[word - 1], out);
        else
            append_word(steps.rows[word - 1], out);
        if (word < steps.nr)
            append_body(frame->name, out);
    } else {
        text_append_str(out, function);
    }
    text_deinit(&path);
}

/* --- kinds ----------------------------------------------------------------------------------- */

static bool begins_one_of(const char *text, const char *const *prefixes, size_t nr)
{
    for (size_t i = 0; i < nr; i++)
        if (str_starts_with(text, prefixes[i]))
            return true;
    return false;
}

#define BEGINS_ONE_OF(text, prefixes)                                                              \
    begins_one_of(text, prefixes, sizeof(prefixes) / sizeof(*(prefixes)))

static bool has_one_of(const char *text, const char *const *parts, size_t nr)
{
    for (size_t i = 0; i < nr; i++)
        if (strstr(text, parts[i]))
            return true;
    return false;
}

/* The path that names the crate: of "<&mut a::B as c::D>::e" that of a::B; of a type parameter or what has
 * no path, that of the trait. */
static const char *own_path(const char *function)
{
    static const char *const before[] = {"<",    "&",      "*",    "(",    "[",
                                         "mut ", "const ", "dyn ", "impl "};
    const char *at = function;
    for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++)
        if (str_starts_with(at, before[i])) {
            at += strlen(before[i]);
            i = (size_t)-1;
        }
    const char *word_end = at;
    while (isalnum((unsigned char)*word_end) || *word_end == '_')
        word_end++;
    const char *trait = strstr(at, " as ");
    return at == function || str_starts_with(word_end, "::") || !trait ? at : trait + 4;
}

/* Polling, scheduling, catching panics, the start of a thread. */
static bool is_runtime(const char *path)
{
    static const char *const prefixes[] = {
        "tokio::runtime::",
        "tokio::task::",
        "tokio::loom::",
        "tokio::coop::",
        "tokio::util::",
        "tokio::future::",
        "std::rt::",
        "std::panic::",
        "std::panicking::",
        "std::thread::",
        "std::sys::backtrace::",
        "std::sys_common::backtrace::",
        "std::sys::thread",
        "std::sys::pal::unix::thread",
        "std::sys::unix::thread",
        "core::panic::unwind_safe::",
    };
    return BEGINS_ONE_OF(path, prefixes);
}

static bool is_std(const char *path, const char *file)
{
    static const char *const crates[] = {
        "core::",         "alloc::",          "std::",     "compiler_builtins::", "std_detect::",
        "panic_unwind::", "rustc_demangle::", "__rustc::",
    };
    return BEGINS_ONE_OF(path, crates) || strstr(file, "/rustlib/src/rust/") ||
           strstr(file, "/rustc/") || str_starts_with(path, "__rust_") ||
           str_starts_with(path, "__rdl_");
}

/* Where no file says it: what nearly every async program is made of. */
static bool is_known_crate(const char *path)
{
    static const char *const crates[] = {
        "tokio::",
        "tokio_util::",
        "tokio_stream::",
        "tokio_rustls::",
        "mio::",
        "bytes::",
        "hyper::",
        "hyper_util::",
        "h2::",
        "http::",
        "http_body::",
        "http_body_util::",
        "tower::",
        "tower_http::",
        "axum::",
        "axum_core::",
        "reqwest::",
        "futures::",
        "futures_util::",
        "futures_core::",
        "futures_channel::",
        "futures_executor::",
        "serde::",
        "serde_json::",
        "tracing::",
        "tracing_core::",
        "tracing_subscriber::",
        "regex::",
        "regex_automata::",
        "memchr::",
        "parking_lot::",
        "socket2::",
        "libc::",
        "rustls::",
        "ring::",
        "hashbrown::",
        "indexmap::",
        "once_cell::",
        "smallvec::",
        "slab::",
        "tonic::",
        "prost::",
        "sqlx::",
        "crossbeam_",
        "rayon",
        "log::",
        "env_logger::",
        "clap",
        "anyhow::",
        "async_",
        "url::",
        "time::",
        "chrono::",
        "rand",
        "base64::",
        "flate2::",
        "miniz_oxide::",
        "tungstenite::",
        "tokio_tungstenite::",
    };
    return BEGINS_ONE_OF(path, crates);
}

/* Cargo keeps other crates' sources in folders of its own. */
static bool is_elsewhere(const char *file)
{
    static const char *const folders[] = {"/.cargo/", "/registry/src/", "/git/checkouts/",
                                          "/vendor/", "/usr/src/",      "/usr/include/"};
    return has_one_of(file, folders, sizeof(folders) / sizeof(*folders));
}

/* What runs before a thread's first function, and the C main of a program that is not in C. */
static bool is_start(const char *function, const char *file)
{
    static const char *const names[] = {"_start", "start_thread", "clone", "clone3",
                                        "thread_start"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(function, names[i]) == 0)
            return true;
    return str_starts_with(function, "__libc_start_") || str_starts_with(function, "__clone") ||
           (strcmp(function, "main") == 0 && !*file);
}

/* A shared library that is not in Rust; the program's own are told by their files. */
static bool is_system_library(const char *image)
{
    static const char *const folders[] = {"/lib/",       "/lib64/",         "/usr/lib/",
                                          "/usr/lib64/", "/usr/local/lib/", "/nix/store/"};
    return BEGINS_ONE_OF(image, folders) && strstr(image, ".so");
}

static bool is_state_machine(const struct frame *frame)
{
    return frame->name && (str_starts_with(frame->name, "{async_fn#") ||
                           str_starts_with(frame->name, "{async_block#") ||
                           str_starts_with(frame->name, "{async_closure#"));
}

enum run_frame_kind frame_kind(const struct frame *frame, const char *image)
{
    const char *function = frame->function ? frame->function : "";
    const char *file = frame->declared_in ? frame->declared_in : frame->file ? frame->file : "";
    const char *path = own_path(function);
    bool is_rust = strstr(function, "::") != NULL;
    if (str_ends_with(image, "libasyncmem-trace.so"))
        return RUN_FRAME_TRACER;
    if (is_rust && is_runtime(path))
        return RUN_FRAME_RUNTIME;
    /* A #[global_allocator] of the program's own allocates for everybody. */
    if (is_std(path, file) || strstr(function, "GlobalAlloc>::"))
        return RUN_FRAME_STD;
    if (is_start(function, file))
        return RUN_FRAME_RUNTIME;
    if (!is_rust && is_system_library(image))
        return RUN_FRAME_LIBRARY;
    if (*file ? is_elsewhere(file) : !is_rust || is_known_crate(path))
        return RUN_FRAME_LIBRARY;
    return is_state_machine(frame) ? RUN_FRAME_POLL : RUN_FRAME_USER;
}
