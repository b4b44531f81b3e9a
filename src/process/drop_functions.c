/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sources: the System V ABI (arguments in rdi rsi rdx rcx r8 r9); malloc(3), posix_memalign(3),
 * futex(2); Rust's allocator shims __rust_dealloc(pointer, size, align).
 */
#include "process/drop_functions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "process/drop_run.h"
#include "process/image_symbols.h"
#include "recording/live_region.h"

enum { MAX_MOVE_BYTES = 256 << 20, PIECE_BYTES = 4096 };
/* Before what the copied program allocates: how much that was. */
enum { OWN_HEADER_BYTES = 16 };

static enum emulator_answer answer(struct emulator *emulator, uint64_t result)
{
    emulator->registers[RAX] = result;
    return EMULATOR_ANSWERED;
}

static enum emulator_answer stop(void *context, const char *reason)
{
    ((struct drop_run *)context)->stop_reason = reason;
    return EMULATOR_STOP;
}

/* --- the allocator --------------------------------------------------------------------------- */

/* Memory that only the copy has; 0: too much. */
static uint64_t allocate(struct emulator *emulator, uint64_t size, uint64_t align)
{
    if (size > MAX_MOVE_BYTES || align > MAX_MOVE_BYTES)
        return 0;
    align = align < OWN_HEADER_BYTES ? OWN_HEADER_BYTES : align;
    uint64_t start = emulator_allocate(emulator, size + align + OWN_HEADER_BYTES);
    if (!start)
        return 0;
    uint64_t addr = (start + OWN_HEADER_BYTES + align - 1) / align * align;
    emulator_write(emulator, addr - OWN_HEADER_BYTES, &size, sizeof(size));
    return addr;
}

/* Bytes that `addr` has at least; false: it is no block. */
static bool size_of(struct drop_run *run, uint64_t addr, uint64_t *size)
{
    if (emulator_is_own(run->emulator, addr))
        return emulator_read(run->emulator, addr - OWN_HEADER_BYTES, size, sizeof(*size));
    uint32_t block = heap_blocks_find(run->blocks, addr);
    *size = block ? run->blocks->rows[block - 1].size_bytes : 0;
    return block && run->blocks->rows[block - 1].addr == addr;
}

static enum emulator_answer answer_free(void *context, struct emulator *emulator)
{
    uint64_t addr = emulator->registers[RDI];
    if (addr && !emulator_is_own(emulator, addr))
        drop_run_add_free(context, addr);
    return answer(emulator, 0);
}

/* (pointer, size ...): only says how much was asked for; what it calls is answered. */
static enum emulator_answer note_sized(void *context, struct emulator *emulator)
{
    struct drop_run *run = context;
    run->sized_addr = emulator->registers[RDI];
    run->sized_bytes = emulator->registers[RSI];
    return EMULATOR_GO_ON;
}

static enum emulator_answer answer_sized_free(void *context, struct emulator *emulator)
{
    note_sized(context, emulator);
    return answer_free(context, emulator);
}

static enum emulator_answer answer_malloc(void *context, struct emulator *emulator)
{
    (void)context;
    return answer(emulator, allocate(emulator, emulator->registers[RDI], 1));
}

static enum emulator_answer answer_calloc(void *context, struct emulator *emulator)
{
    uint64_t size;
    (void)context;
    if (__builtin_mul_overflow(emulator->registers[RDI], emulator->registers[RSI], &size))
        return answer(emulator, 0);
    return answer(emulator, allocate(emulator, size, 1));
}

static enum emulator_answer answer_aligned_alloc(void *context, struct emulator *emulator)
{
    (void)context;
    return answer(emulator, allocate(emulator, emulator->registers[RSI], emulator->registers[RDI]));
}

/* (size, align) */
static enum emulator_answer answer_mi_aligned(void *context, struct emulator *emulator)
{
    (void)context;
    return answer(emulator, allocate(emulator, emulator->registers[RDI], emulator->registers[RSI]));
}

static enum emulator_answer answer_posix_memalign(void *context, struct emulator *emulator)
{
    (void)context;
    uint64_t addr = allocate(emulator, emulator->registers[RDX], emulator->registers[RSI]);
    bool ok = addr && emulator_write(emulator, emulator->registers[RDI], &addr, sizeof(addr));
    return answer(emulator, ok ? 0 : ENOMEM);
}

/* The next piece to copy, from the end where it overlaps so; no word of the source is cut by another. */
static uint64_t next_piece(uint64_t from, uint64_t done, uint64_t size, bool is_backward,
                           uint64_t *length)
{
    uint64_t left = size - done, at = done;
    if (left <= PIECE_BYTES) {
        *length = left;
        return is_backward ? 0 : at;
    }
    *length = PIECE_BYTES - (from + at) % 8;
    if (is_backward) {
        uint64_t cut = (from + left - PIECE_BYTES) % 8;
        at = left - PIECE_BYTES + (cut ? 8 - cut : 0);
        *length = left - at;
    }
    return at;
}

/* Copies within the emulator's memory; the run is told what words were read. */
static bool move(struct drop_run *run, uint64_t to, uint64_t from, uint64_t size)
{
    uint8_t piece[PIECE_BYTES];
    bool is_noted = !emulator_is_own(run->emulator, from);
    bool is_backward = to > from && to - from < size;
    if (size > MAX_MOVE_BYTES)
        return false;
    for (uint64_t done = 0, length; done < size; done += length) {
        uint64_t at = next_piece(from, done, size, is_backward, &length);
        if (!emulator_read(run->emulator, from + at, piece, length) ||
            !emulator_write(run->emulator, to + at, piece, length))
            return false;
        if (is_noted)
            drop_run_note_words(run, from + at, piece, length);
    }
    return true;
}

static enum emulator_answer answer_realloc(void *context, struct emulator *emulator)
{
    struct drop_run *run = context;
    uint64_t old = emulator->registers[RDI], size = emulator->registers[RSI], old_size = 0;
    uint64_t addr = allocate(emulator, size, 1);
    if (old && (!size_of(run, old, &old_size) || !addr ||
                !move(run, addr, old, old_size < size ? old_size : size)))
        return stop(context, "it makes a block bigger that is not known");
    if (old && !emulator_is_own(emulator, old))
        drop_run_add_free(run, old);
    return answer(emulator, addr);
}

static enum emulator_answer answer_usable_size(void *context, struct emulator *emulator)
{
    uint64_t size = 0;
    if (emulator->registers[RDI] && !size_of(context, emulator->registers[RDI], &size))
        return stop(context, "it asks for the size of a block that is not known");
    return answer(emulator, size);
}

/* --- memory ---------------------------------------------------------------------------------- */

static enum emulator_answer answer_memcpy(void *context, struct emulator *emulator)
{
    const uint64_t *registers = emulator->registers;
    if (!move(context, registers[RDI], registers[RSI], registers[RDX]))
        return stop(context, "it copies memory that is not there");
    return answer(emulator, registers[RDI]);
}

static enum emulator_answer answer_memset(void *context, struct emulator *emulator)
{
    uint8_t piece[PIECE_BYTES];
    const uint64_t *registers = emulator->registers;
    uint64_t size = registers[RDX];
    memset(piece, (int)registers[RSI], sizeof(piece));
    if (size > MAX_MOVE_BYTES)
        return stop(context, "it fills too much memory");
    for (uint64_t done = 0, length; done < size; done += length) {
        length = size - done < PIECE_BYTES ? size - done : PIECE_BYTES;
        if (!emulator_write(emulator, registers[RDI] + done, piece, length))
            return stop(context, "it fills memory that is not there");
    }
    return answer(emulator, registers[RDI]);
}

static enum emulator_answer answer_memcmp(void *context, struct emulator *emulator)
{
    const uint64_t *registers = emulator->registers;
    for (uint64_t i = 0; i < registers[RDX]; i++) {
        uint8_t a, b;
        if (i >= MAX_MOVE_BYTES || !emulator_read(emulator, registers[RDI] + i, &a, 1) ||
            !emulator_read(emulator, registers[RSI] + i, &b, 1))
            return stop(context, "it compares memory that is not there");
        if (a != b)
            return answer(emulator, (uint64_t)(int64_t)(a - b));
    }
    return answer(emulator, 0);
}

/* The first byte `wanted` from `addr` on, at most `size` away; `size`: none.  False: not there. */
static bool find_byte(struct emulator *emulator, uint64_t addr, uint8_t wanted, uint64_t *size)
{
    for (uint64_t i = 0; i < *size; i++) {
        uint8_t byte;
        if (i > MAX_MOVE_BYTES || !emulator_read(emulator, addr + i, &byte, 1))
            return false;
        if (byte == wanted)
            *size = i;
    }
    return true;
}

static enum emulator_answer answer_strlen(void *context, struct emulator *emulator)
{
    uint64_t length = UINT64_MAX;
    if (!find_byte(emulator, emulator->registers[RDI], 0, &length))
        return stop(context, "it measures a string that has no end");
    return answer(emulator, length);
}

static enum emulator_answer answer_memchr(void *context, struct emulator *emulator)
{
    const uint64_t *registers = emulator->registers;
    uint64_t length = registers[RDX];
    if (!find_byte(emulator, registers[RDI], (uint8_t)registers[RSI], &length))
        return stop(context, "it searches memory that is not there");
    return answer(emulator, length < registers[RDX] ? registers[RDI] + length : 0);
}

/* --- the rest -------------------------------------------------------------------------------- */

static enum emulator_answer answer_nothing(void *context, struct emulator *emulator)
{
    (void)context;
    return answer(emulator, 0);
}

static enum emulator_answer answer_clock(void *context, struct emulator *emulator)
{
    struct timespec now;
    if (clock_gettime((clockid_t)emulator->registers[RDI], &now) != 0)
        return answer(emulator, UINT64_MAX);
    if (!emulator_write(emulator, emulator->registers[RSI], &now, sizeof(now)))
        return stop(context, "it stores the time where no memory is");
    return answer(emulator, 0);
}

static enum emulator_answer stop_at_panic(void *context, struct emulator *emulator)
{
    (void)emulator;
    return stop(context, "it panics");
}

static enum emulator_answer stop_at_end(void *context, struct emulator *emulator)
{
    (void)emulator;
    return stop(context, "it ends the program");
}

static const struct {
    const char *name;
    emulator_intercept_fn *answer;
} known_functions[] = {
    {"free", answer_free},
    {"cfree", answer_free},
    {"malloc", answer_malloc},
    {"calloc", answer_calloc},
    {"realloc", answer_realloc},
    {"posix_memalign", answer_posix_memalign},
    {"aligned_alloc", answer_aligned_alloc},
    {"memalign", answer_aligned_alloc},
    {"malloc_usable_size", answer_usable_size},
    {"_rjem_sdallocx", answer_sized_free},
    {"_rjem_dallocx", answer_free},
    {"_rjem_free", answer_free},
    {"sdallocx", answer_sized_free},
    {"mi_free", answer_free},
    {"mi_free_size", answer_sized_free},
    {"mi_free_size_aligned", answer_sized_free},
    {"mi_free_aligned", answer_free},
    {"memcpy", answer_memcpy},
    {"memmove", answer_memcpy},
    {"memset", answer_memset},
    {"memcmp", answer_memcmp},
    {"bcmp", answer_memcmp},
    {"strlen", answer_strlen},
    {"memchr", answer_memchr},
    {"clock_gettime", answer_clock},
    {"__cxa_thread_atexit_impl", answer_nothing},
    {"_Unwind_RaiseException", stop_at_panic},
    {"rust_panic", stop_at_panic},
    {"abort", stop_at_end},
    {"exit", stop_at_end},
    {"_exit", stop_at_end},
    {"__assert_fail", stop_at_end},
    {"__stack_chk_fail", stop_at_end},
};

/* Hooks that a tracer put before functions of an allocator that an image brings along. */
static emulator_intercept_fn *const slot_answers[NR_REGION_SLOT_FUNCTIONS] = {
    [REGION_SLOT_MI_MALLOC_ALIGNED] = answer_mi_aligned,
    [REGION_SLOT_MI_ZALLOC_ALIGNED] = answer_mi_aligned,
    [REGION_SLOT_MI_REALLOC_ALIGNED] = answer_realloc,
    [REGION_SLOT_MI_MALLOC] = answer_malloc,
    [REGION_SLOT_MI_ZALLOC] = answer_malloc,
    [REGION_SLOT_MI_REALLOC] = answer_realloc,
    [REGION_SLOT_MI_FREE] = answer_free,
    [REGION_SLOT_JE_MALLOC] = answer_malloc,
    [REGION_SLOT_JE_CALLOC] = answer_calloc,
    [REGION_SLOT_JE_REALLOC] = answer_realloc,
    [REGION_SLOT_JE_FREE] = answer_free,
    [REGION_SLOT_JE_MALLOCX] = answer_malloc,
    [REGION_SLOT_JE_RALLOCX] = answer_realloc,
    [REGION_SLOT_JE_XALLOCX] = answer_usable_size,
    [REGION_SLOT_JE_SDALLOCX] = answer_sized_free,
    [REGION_SLOT_JE_DALLOCX] = answer_free,
    [REGION_SLOT_JE_POSIX_MEMALIGN] = answer_posix_memalign,
    [REGION_SLOT_JE_ALIGNED_ALLOC] = answer_aligned_alloc,
};

struct finding {
    struct drop_functions *functions;
    struct emulator *emulator; /* for resolvers */
};

static void add_function(struct drop_functions *functions, uint64_t addr,
                         emulator_intercept_fn *answer_fn)
{
    functions->rows = array_reserve(functions->rows, &functions->capacity, functions->nr + 1,
                                    sizeof(*functions->rows));
    functions->rows[functions->nr++] = (struct drop_function){addr, answer_fn};
    functions->has_free |= answer_fn == answer_free || answer_fn == answer_sized_free;
}

/* What the program's loader got from the resolver: the function for this processor. */
static uint64_t resolve(struct emulator *emulator, uint64_t resolver)
{
    enum { MAX_INSTRUCTIONS = 100000 };
    enum emulator_end end = emulator_run(emulator, resolver, NULL, 0, MAX_INSTRUCTIONS);
    uint64_t addr = end == EMULATOR_RETURNED ? emulator->registers[RAX] : 0;
    emulator_undo(emulator);
    return addr;
}

/* Rust's shim, in both manglings: _RNv...___rust_dealloc, __rust_dealloc. */
static bool is_rust_dealloc(const char *name)
{
    return (name[0] == '_' && (name[1] == 'R' || name[1] == '_')) &&
           str_ends_with(name, "__rust_dealloc");
}

static void take_symbol(void *context, const char *name, uint64_t addr, bool is_ifunc)
{
    struct finding *finding = context;
    if (is_rust_dealloc(name))
        add_function(finding->functions, addr, note_sized);
    for (size_t i = 0; i < sizeof(known_functions) / sizeof(*known_functions); i++)
        if (name[0] == known_functions[i].name[0] && strcmp(name, known_functions[i].name) == 0) {
            uint64_t at = is_ifunc ? resolve(finding->emulator, addr) : addr;
            if (at)
                add_function(finding->functions, at, known_functions[i].answer);
        }
}

void drop_functions_find(struct drop_functions *functions, const struct target *target)
{
    enum { SMALL_CACHE_BYTES = 1 << 20 };
    *functions = (struct drop_functions){0};
    struct finding finding = {functions, emulator_new(target, NULL, SMALL_CACHE_BYTES)};
    for (size_t i = 0; i < target->nr_images; i++)
        image_symbols_visit(&target->images[i], take_symbol, &finding);
    for (size_t i = 0; i < target->nr_stand_ins; i++)
        if (target->stand_ins[i].function < NR_REGION_SLOT_FUNCTIONS)
            add_function(functions, target->stand_ins[i].addr,
                         slot_answers[target->stand_ins[i].function]);
    emulator_free(finding.emulator);
}

void drop_functions_deinit(struct drop_functions *functions)
{
    free(functions->rows);
    *functions = (struct drop_functions){0};
}

void drop_functions_intercept(const struct drop_functions *functions, struct emulator *emulator,
                              struct drop_run *run)
{
    for (size_t i = 0; i < functions->nr; i++)
        emulator_intercept(emulator, functions->rows[i].addr, functions->rows[i].answer, run);
}

/* --- drop glue ------------------------------------------------------------------------------- */

/*
 * The whole drop of a value.  `<X as Drop>::drop` is only the first part of one: what follows would free
 * what that part had taken out.  Those of alloc take out nothing.
 */
static bool is_glue(const char *name)
{
    if (strstr(name, "drop_in_place") || strstr(name, "drop_glue"))
        return true;
    const char *crate = str_starts_with(name, "_RNvX") ? strstr(name, "Cs") : NULL;
    crate = crate ? strchr(crate, '_') : NULL;
    return crate && str_starts_with(crate, "_5alloc") && str_ends_with(name, "4Drop4drop");
}

static void take_glue(void *context, const char *name, uint64_t addr, bool is_ifunc)
{
    if (!is_ifunc && is_glue(name))
        *map_put(context, addr, NULL) = 1;
}

void drop_functions_list_glue(struct map *glue, const struct target *target)
{
    map_init(glue);
    for (size_t i = 0; i < target->nr_images; i++)
        image_symbols_visit(&target->images[i], take_glue, glue);
}
