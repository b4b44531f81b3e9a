/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The rows of a plan: a file format (docs/PLAN.md).  Integers are little-endian; ids are position
 * + 1 in their section, 0 meaning none.  Any change raises PLAN_VERSION.
 */
#pragma once

#include <stdint.h>

#define PLAN_MAGIC "asyncmpl"
/* Raise with every change of a row or of what a row means. */
enum { PLAN_VERSION = 3 };

typedef struct {
    uint32_t v; /* offset in the string section; 0 is "" */
} plan_str;
typedef struct {
    uint32_t v;
} plan_type_id;
typedef struct {
    uint32_t v;
} plan_file_id;
typedef struct {
    uint32_t v;
} plan_future_id;

/* How much could be read. */
enum plan_detail {
    PLAN_DETAIL_NONE,  /* no names: cells, states and sizes only */
    PLAN_DETAIL_NAMES, /* names of task futures, no layouts */
    PLAN_DETAIL_FULL,
};

/* How far the types of a plan go. */
enum plan_level {
    PLAN_LEVEL_TYPES,  /* futures with all they hold inline */
    PLAN_LEVEL_MEMORY, /* also what pointers point to: enough to read a process's memory */
    NR_PLAN_LEVELS,
};

enum plan_type_kind {
    PLAN_TYPE_OPAQUE, /* declared only, or of a kind that is not read */
    PLAN_TYPE_BASE,
    PLAN_TYPE_STRUCT,
    PLAN_TYPE_UNION,
    PLAN_TYPE_ENUM,     /* C-like */
    PLAN_TYPE_VARIANTS, /* a Rust enum with data */
    PLAN_TYPE_COROUTINE,
    PLAN_TYPE_POINTER,
    PLAN_TYPE_ARRAY,
    NR_PLAN_TYPE_KINDS,
};

struct plan_type {
    plan_str name;     /* qualified, as DWARF has it */
    uint8_t kind;      /* enum plan_type_kind */
    uint8_t is_future; /* the type has a `poll`: coroutines, Sleep, Timeout<T> */
    uint8_t reserved[2];
    uint32_t align_bytes;  /* 0: not recorded */
    uint32_t first_member; /* id; members of a struct or union; of VARIANTS: outside the variants */
    uint32_t nr_members;
    uint32_t first_variant; /* id; VARIANTS and COROUTINE */
    uint32_t nr_variants;
    uint64_t size_bytes;
    plan_type_id element; /* ARRAY */
    plan_type_id
        discr_type; /* VARIANTS and COROUTINE: of the discriminant, 0 where there is none */
    uint64_t discr_offset;
    uint64_t count; /* ARRAY: number of elements */
    uint64_t die;   /* where its DWARF is, for layouts asked for later; ~0 where unknown */
    /* POINTER: what it points to; Vec and VecDeque: their elements.  Any id; 0: not compiled. */
    plan_type_id pointee;
    uint32_t reserved_2;
};

struct plan_member {
    plan_str name;
    plan_type_id type;
    uint64_t offset_bytes;
};

struct plan_variant {
    plan_str name;        /* Suspend0, Some */
    plan_type_id payload; /* a struct whose members live in this variant */
    uint64_t discr;       /* value of the discriminant, sign-extended to 64 bits */
    uint32_t has_discr;   /* 0: the variant of all other values */
    plan_file_id file;    /* COROUTINE: of the await; 0: unknown */
    uint32_t line;        /* 0: unknown */
    uint32_t reserved;
};

struct plan_file {
    plan_str path;
};

enum plan_future_kind {
    PLAN_FUTURE_FN,
    PLAN_FUTURE_BLOCK,
    PLAN_FUTURE_CLOSURE,
    NR_PLAN_FUTURE_KINDS,
};

/* A future type: one coroutine. */
struct plan_future {
    plan_str path;     /* qualified name in DWARF: demo::{impl#1}::read::{async_fn_env#0} */
    plan_str symbol;   /* of its poll function, demangled; "" where none was found */
    plan_type_id type; /* kind COROUTINE, or 0: declared only */
    uint16_t kind;     /* enum plan_future_kind */
    uint16_t reserved;
    plan_file_id file; /* where it is written */
    uint32_t line;
    uint32_t first_await; /* id of the plan_await of its first variant; one for each variant */
    uint32_t nr_copies;   /* how often DWARF has it */
    uint64_t poll_addr;   /* 0: no code of its own */
};

/* What a variant's own line does not say: the user's line of an await inside a macro. */
struct plan_await {
    plan_file_id file; /* the user's; 0: no macro, see the variant's own line */
    uint32_t line;
    plan_str macro;    /* "join!" */
    uint32_t is_exact; /* 0: the line is that of the function, the await is somewhere in it */
};

enum plan_task_kind {
    PLAN_TASK_UNKNOWN,
    PLAN_TASK_ASYNC,    /* a spawned future */
    PLAN_TASK_BLOCKING, /* spawn_blocking */
    PLAN_TASK_WORKER,   /* the loop of a runtime's own thread */
    NR_PLAN_TASK_KINDS,
};

enum plan_scheduler {
    PLAN_SCHEDULER_UNKNOWN,
    PLAN_SCHEDULER_MULTI_THREAD,
    PLAN_SCHEDULER_CURRENT_THREAD,
    PLAN_SCHEDULER_LOCAL,
    PLAN_SCHEDULER_BLOCKING, /* the pool of blocking threads */
    NR_PLAN_SCHEDULERS,
};

enum plan_name_source {
    PLAN_NAME_NONE,      /* by structure only */
    PLAN_NAME_DWARF,     /* debug info names its types */
    PLAN_NAME_SYMBOL,    /* v0 symbol */
    PLAN_NAME_DROP_GLUE, /* symbol of the drop function in the same vtable's neighbourhood */
    NR_PLAN_NAME_SOURCES,
};

/*
 * How a task's memory is laid out and which future it runs: one task vtable.  Where the compiler or
 * the linker merged functions of equal code, further rows have the same vtable: its other names.
 */
struct plan_task {
    uint64_t vtable_addr;
    uint64_t poll_addr;
    plan_str future;    /* its T, as DWARF or the symbol has it; "" where unknown */
    plan_str scheduler; /* its S */
    plan_type_id cell;  /* tokio's Cell<T, S>; 0: unknown */
    plan_future_id future_id;
    uint32_t trailer_offset, scheduler_offset, id_offset; /* in the cell, bytes */
    uint32_t name_source;                                 /* enum plan_name_source */
    uint32_t poll_bytes;    /* length of the poll function's code; 0: unknown (stripped) */
    uint8_t kind;           /* enum plan_task_kind */
    uint8_t scheduler_kind; /* enum plan_scheduler */
    uint16_t is_other_name; /* of the row before it that has this vtable */
    uint32_t code_shape; /* hash of the lengths of all its functions; 0: unknown */
    uint32_t reserved_2;
};

/* A vtable of a trait object and the type behind it. */
struct plan_vtable {
    uint64_t addr;
    plan_str name;     /* <X as Trait> */
    plan_type_id type; /* X; 0: not compiled */
    uint64_t die;      /* of X */
};

/* Path of an {impl#N} and how the source writes it. */
struct plan_impl {
    plan_str path;    /* demo::{impl#2} */
    plan_str display; /* <demo::Svc as demo::Handler> */
};

/* A file from which debug information was read. */
struct plan_source {
    plan_str path;
    plan_str role; /* "program", "debug file", "package", "split units" */
    uint64_t size_bytes;
    int64_t modified_ns;
    uint64_t inode;
};

/* What could not be read, why, and what to do; one sentence each. */
struct plan_note {
    plan_str text;
};

struct plan_facts {
    uint32_t detail; /* enum plan_detail */
    plan_str detail_reason;
    plan_str build_id; /* hexadecimal */
    uint32_t machine;  /* EM_* */
    uint32_t nr_units, nr_unreadable_units, nr_rust_units, nr_declared_futures;
    uint32_t dwarf_version; /* the highest met, 0: none */
    uint32_t is_partial;    /* a file was missing or damaged: not for the cache */
    uint32_t level;         /* enum plan_level */
    uint32_t reserved;
    uint64_t nr_dies;
    uint64_t debug_bytes;
};

enum plan_section_id {
    PLAN_STRINGS,
    PLAN_FACTS,
    PLAN_FILES,
    PLAN_TYPES,
    PLAN_MEMBERS,
    PLAN_VARIANTS,
    PLAN_FUTURES,
    PLAN_AWAITS,
    PLAN_TASKS,
    PLAN_VTABLES,
    PLAN_IMPLS,
    PLAN_SOURCES,
    PLAN_NOTES,
    NR_PLAN_SECTIONS,
};

struct plan_section {
    uint64_t offset;
    uint32_t row_bytes;
    uint32_t nr_rows;
};

struct plan_header {
    char magic[8];
    uint32_t version;
    uint32_t nr_sections;
    uint64_t file_bytes;
    uint64_t checksum; /* XXH3-64 of all bytes from the key on */
    uint8_t key[16];   /* what it was compiled from; see program/plan_cache.h */
    struct plan_section sections[NR_PLAN_SECTIONS];
};

_Static_assert(sizeof(struct plan_type) == 80, "plan_type is a file format");
_Static_assert(sizeof(struct plan_member) == 16, "plan_member is a file format");
_Static_assert(sizeof(struct plan_variant) == 32, "plan_variant is a file format");
_Static_assert(sizeof(struct plan_future) == 40, "plan_future is a file format");
_Static_assert(sizeof(struct plan_await) == 16, "plan_await is a file format");
_Static_assert(sizeof(struct plan_task) == 64, "plan_task is a file format");
_Static_assert(sizeof(struct plan_vtable) == 24, "plan_vtable is a file format");
_Static_assert(sizeof(struct plan_source) == 32, "plan_source is a file format");
_Static_assert(sizeof(struct plan_facts) == 64, "plan_facts is a file format");
_Static_assert(sizeof(struct plan_header) == 48 + 16 * NR_PLAN_SECTIONS, "a file format");
