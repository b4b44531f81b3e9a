/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a process or a core file holds: mappings, images, threads, memory; and the pause.  The
 * stage before: a pid or a path.  The stages after: process/task_cells and process/task_futures,
 * which read tasks through it.
 *
 * target_stop seizes the threads of a live target by ptrace; whatever happens to asyncmem, even
 * SIGKILL, the kernel detaches and the threads go on.  Nothing of a target is written to but, by
 * target_fork, what is free below one thread's stack.  One thread at a time uses a target; only
 * target_read and target_read_many may be called by several at once.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/memory.h"

struct mapping {
    uint64_t start, end;
    uint64_t offset;        /* in the file */
    uint64_t device, inode; /* 0: no file, and always in a core, which knows paths only */
    bool readable, writable, executable;
    bool is_shared, is_deleted;
    bool is_device;   /* a device's or the kernel's memory: not for reading */
    const char *path; /* of the file without " (deleted)", "[stack]", "[heap]" or "" */
};

/* As DWARF numbers them on x86-64: rax rdx rcx rbx rsi rdi rbp rsp r8 ... r15, and the pc. */
enum { NR_DWARF_REGISTERS = 17 };

struct target_thread {
    pid_t tid;
    bool stopped;
    /* as they were when it stopped, or as the core has them; 0: unknown */
    uint64_t pc, stack_pointer, frame_pointer;
    uint64_t thread_pointer; /* fs_base: on glibc in the thread's descriptor, above its stack */
    uint64_t registers[NR_DWARF_REGISTERS];
};

/* A program or library that is mapped: an ELF file with code. */
struct target_image {
    const char *name; /* its path as the target sees it */
    const char *path; /* that opens the very file that is mapped, also when it was deleted or is in
                       * another mount namespace; NULL: none does (told in `problem`) */
    const char *problem;
    uint64_t bias; /* what is added to the addresses in the file; 0 where no header is known */
    uint64_t start, end;    /* from its first segment to its last, .bss too */
    uint64_t device, inode; /* as in its mappings */
    bool is_program;
};

struct target_range {
    uint64_t addr;
    size_t size_bytes;
    void *buffer;
};

struct core_segment {
    uint64_t addr, size_bytes;
    const uint8_t *bytes; /* size_bytes of them */
};

/* A function of a tracer that stands before one of an allocator. */
struct target_stand_in {
    uint64_t addr;
    uint32_t function; /* enum region_slot_function: what it is called as */
};

struct pause;
struct copy_state;

/* How the whole memory of a live target is kept for a longer look (target_fork). */
struct target_copy {
    pid_t pid;           /* of the copy-on-write child as we see it; 0: none */
    int memory_fd;       /* /proc/PID/mem of it */
    uint64_t fork_ns;    /* how long the kernel took to make it */
    const char *problem; /* what of the memory is not in it, as part of a sentence; NULL: nothing */
    struct copy_state *state; /* of process/copy.c */
};

struct target {
    pid_t pid;        /* 0 for a core without a process id */
    pid_t memory_tid; /* live: whom to ask for memory: pid, or a living thread where the first of
                       * the process has ended before the others */
    const char *name; /* of the program: its path, or the short name from the core */
    struct arena arena;
    struct mapping *mappings; /* by address */
    size_t nr_mappings, mappings_capacity;
    struct target_thread *threads; /* of a live target: while it is stopped */
    size_t nr_threads, threads_capacity;
    struct target_image *images; /* the program first, the others by address */
    size_t nr_images, images_capacity;
    struct target_stand_in *stand_ins; /* of a traced program, set by traced_blocks_finish */
    size_t nr_stand_ins;
    bool is_core;
    struct pause *pause;     /* live: while it is stopped */
    uint64_t stop_began_ns;  /* CLOCK_MONOTONIC; before the first thread was asked to stop */
    struct target_copy copy; /* pid 0: none */
    pid_t guard_pid;         /* of process/copy_guard.c; 0: none */
    int guard_fd;
    /* a core: */
    struct file *core;
    struct file *files; /* of its images, for memory that the core left out */
    size_t nr_files, files_capacity;
    struct core_segment *segments; /* by address */
    size_t nr_segments;
    uint64_t entry;      /* AT_ENTRY, 0: unknown */
    int64_t taken_at_ns; /* of the core: when the file was written, since 1970 */
    bool is_truncated;   /* the file is shorter than its headers say */
};

/*
 * ERROR_TARGET: gone, a kernel thread, no permission (yama, another user: with the remedy),
 * already traced (by whom), 32-bit, a zombie.  Reads mappings and images; stops nothing.  The id of
 * any thread will do.  After an error the target is closed; closing it again does no harm.
 */
MUST_CHECK bool target_open(struct target *target, pid_t pid, struct error *err);
/*
 * ERROR_INPUT: no core file, truncated headers, 32-bit, of another machine than x86-64, without
 * memory, or `exe` is not the program that ran.  `exe` (may be NULL) is the program where it is not
 * where the core says.  A core that is shorter than its headers say keeps what is there.
 */
MUST_CHECK bool target_open_core(struct target *target, const char *path, const char *exe,
                                 struct error *err);
void target_close(struct target *target);

struct user_regs_struct;
/* Fills a thread's registers. */
void target_thread_set(struct target_thread *thread, const struct user_regs_struct *regs);

/* Reads up to `size` bytes; how many could be read from `addr` on without a gap. */
size_t target_read(const struct target *target, uint64_t addr, void *buffer, size_t size);
/*
 * Reads many ranges with few system calls; ranges that could not be read whole have `size_bytes`
 * set to 0.
 */
void target_read_many(const struct target *target, struct target_range *ranges, size_t nr);

/*
 * Reads the mappings and images again (live: they change).  What was borrowed from either is
 * invalid afterwards, but for strings, which hold until target_close.
 */
MUST_CHECK bool target_read_mappings(struct target *target, struct error *err);
/* NULL: nothing is mapped there. */
const struct mapping *target_mapping_at(const struct target *target, uint64_t addr);
/* The image whose span holds `addr`, or NULL. */
const struct target_image *target_image_at(const struct target *target, uint64_t addr);

/*
 * Stops all threads and reads their registers.  If they are not all stopped within `limit_ms`,
 * all go on and the error says which did not and where it waits (ERROR_TARGET); where a thread only
 * had no processor to stop on it is tried again a few times.  A core is always stopped.
 */
MUST_CHECK bool target_stop(struct target *target, unsigned limit_ms, struct error *err);
/*
 * Lets all threads go; how long the target stood still, in ns (0 for a core, or when it was not
 * stopped).  The registers in `threads` stay as they were.
 */
uint64_t target_resume(struct target *target);

/*
 * Before target_stop: ERROR_TARGET where target_fork must not be used (files open with O_DIRECT, on
 * a kernel before 6.5).  There it takes some microseconds for each open file; target_fork asks again.
 */
MUST_CHECK bool target_may_fork(const struct target *target, struct error *err);
/*
 * In the stopped target: makes a copy-on-write child of it, from which all reads come from now on
 * and after target_resume: its memory at one moment.  What a child does not have (shared mappings,
 * MADV_DONTFORK, MADV_WIPEONFORK) is read into memory of ours before this returns, up to a limit.
 * The mappings (not the images) are read again first; later target_read_mappings leaves them.
 * ERROR_TARGET: it cannot be done safely (seccomp, no memory, no thread to do it by): the target is
 * as it was, and reads come from it.  The child never runs, dies with asyncmem, with the target, and is
 * the first to go when memory ends; the target sees nothing of it.  The sequence: process/copy.c.
 */
MUST_CHECK bool target_fork(struct target *target, struct error *err);
/*
 * False: the copy has ended before (the target has, or memory has), and reads since have given
 * nothing.  To be asked after the last read.  True where there is none.
 */
bool target_copy_is_whole(const struct target *target);
/* Ends the child and has it reaped.  Also done by target_close. */
void target_end_copy(struct target *target);
/* What the fork will take, roughly, in ns: from how much memory in pages of which size it has. */
uint64_t target_fork_estimate_ns(const struct target *target);
