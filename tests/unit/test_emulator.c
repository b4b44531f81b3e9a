/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The interpreter on whole functions: of this program, of the C library, at several levels of
 * optimisation, in a child that is a copy of this process; the same functions are run natively
 * here.  And what it promises beside: undo, budgets, faults, intercepts, hooks, own memory.
 */
#include "unit.h"

#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulator_subjects.h"
#include "native_cpu.h"
#include "process/emulator.h"

enum { CACHE_BYTES = 16 << 20, BUDGET = 20000000, FAR_WORDS = 4 << 20 };

static uint64_t words[SUBJECT_WORDS], kept[SUBJECT_WORDS];
static uint64_t *far_words; /* more than a small cache holds */
static const uint64_t constant_word = 77;
static pid_t child;
static struct target target;
static uint64_t (*lazy_call)(uint64_t);

/* --- the target ------------------------------------------------------------------------------- */

static int begin(void **state)
{
    struct error err;
    (void)state;
    /* The heap has room, so that the emulated malloc needs no system call. */
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    void *room = malloc(4 << 20), *behind = malloc(16);
    free(room);
    far_words = memory_alloc(FAR_WORDS * sizeof(*far_words));
    for (size_t i = 0; i < FAR_WORDS; i++)
        far_words[i] = i * 2654435761u;
    for (size_t i = 0; i < SUBJECT_WORDS; i++)
        words[i] = i * i;
    void *library = dlopen(LAZY_SUBJECT, RTLD_LAZY);
    lazy_call = library ? (uint64_t(*)(uint64_t))dlsym(library, "lazy_call") : NULL;
    child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    free(behind);
    if (target_open(&target, child, &err))
        return 0;
    print_error("%s\n", err.message);
    return 1;
}

static int end(void **state)
{
    (void)state;
    target_close(&target);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    free(far_words);
    return 0;
}

static struct emulator *emulator_with(const struct emulator_hooks *hooks)
{
    struct emulator *emulator = emulator_new(&target, hooks, CACHE_BYTES);
    emulator_set_thread_pointer(emulator, (uint64_t)__builtin_thread_pointer());
    return emulator;
}

static enum emulator_end run(struct emulator *emulator, const void *function, uint64_t first,
                             uint64_t second)
{
    const uint64_t args[] = {first, second};
    return emulator_run(emulator, (uint64_t)function, args, 2, BUDGET);
}

static void check_end(struct emulator *emulator, enum emulator_end is, enum emulator_end wanted,
                      const char *what)
{
    char text[100];
    if (is != wanted)
        fail_msg("%s: ends with %s at %llx (%llx)", what,
                 emulator_end_text(emulator, is, text, sizeof(text)),
                 (unsigned long long)emulator->pc, (unsigned long long)emulator->fault_addr);
}

/* --- whole functions -------------------------------------------------------------------------- */

static void run_subject(struct emulator *emulator, const struct subject_function *subject,
                        uint64_t seed, const char *level)
{
    static uint64_t after[SUBJECT_WORDS];
    char what[64];
    snprintf(what, sizeof(what), "%s %s seed %llu", subject->name, level, (unsigned long long)seed);
    check_end(emulator, run(emulator, subject->run, seed, (uint64_t)words), EMULATOR_RETURNED,
              what);
    uint64_t result = emulator->registers[RAX];
    assert_true(emulator_read(emulator, (uint64_t)words, after, sizeof(after)));
    emulator_undo(emulator);
    memcpy(kept, words, sizeof(words));
    uint64_t wanted = subject->run(seed, words);
    bool ok = result == wanted && memcmp(after, words, sizeof(words)) == 0;
    memcpy(words, kept, sizeof(words));
    if (!ok)
        fail_msg("%s: %llx, not %llx", what, (unsigned long long)result,
                 (unsigned long long)wanted);
    assert_true(emulator_read(emulator, (uint64_t)words, after, sizeof(after)));
    assert_memory_equal(after, words, sizeof(words));
}

/* A sanitizer has its own allocator and string functions, which make system calls. */
static bool is_library(const char *name)
{
#ifdef __SANITIZE_ADDRESS__
    return strncmp(name, "library", 7) == 0 || strcmp(name, "allocations") == 0 ||
           strcmp(name, "printing") == 0 || strcmp(name, "long_jump") == 0;
#else
    (void)name;
    return false;
#endif
}

static void test_functions(void **state)
{
    static const struct {
        const char *level;
        const struct subject_function *subjects;
    } levels[] = {{"O0", subjects_O0}, {"O1", subjects_O1}, {"O2", subjects_O2},
                  {"O3", subjects_O3}, {"Os", subjects_Os}, {"v3", subjects_v3}};
    struct emulator *emulator = emulator_with(NULL);
    (void)state;
    for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++) {
        if (levels[i].subjects == subjects_v3 && native_vector_bytes() < 32)
            continue;
        for (const struct subject_function *subject = levels[i].subjects; subject->name; subject++)
            for (uint64_t seed = 1; seed <= 20 && !is_library(subject->name); seed++)
                run_subject(emulator, subject, seed * 0x9e3779b97f4a7c15, levels[i].level);
    }
    emulator_free(emulator);
}

/* The dynamic linker keeps all registers by xsave while it looks up what is called. */
static void test_lazy_binding(void **state)
{
    (void)state;
    assert_non_null(lazy_call);
    struct emulator *emulator = emulator_with(NULL);
    check_end(emulator, run(emulator, lazy_call, 1000, 0), EMULATOR_RETURNED, "lazy_call");
    assert_true(emulator->nr_instructions > 500); /* the linker's */
    assert_int_equal(emulator->registers[RAX], lazy_call(1000));
    emulator_free(emulator);
}

/* --- memory ----------------------------------------------------------------------------------- */

static uint64_t add_far(uint64_t step)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < FAR_WORDS; i += step)
        sum += far_words[i];
    return sum;
}

/* A cache that is much smaller than what is read. */
static void test_small_cache(void **state)
{
    (void)state;
    struct emulator *emulator = emulator_new(&target, NULL, 1);
    for (uint64_t step = 64; step <= 4096; step *= 8) {
        check_end(emulator, run(emulator, add_far, step, 0), EMULATOR_RETURNED, "add_far");
        assert_int_equal(emulator->registers[RAX], add_far(step));
    }
    emulator_free(emulator);
}

static uint64_t write_far(uint64_t step, uint64_t add)
{
    volatile uint64_t *to = far_words;
    for (size_t i = 0; i < FAR_WORDS; i += step)
        to[i] += add;
    return add_far(step);
}

/* What was written stays though the cache is small, until undo. */
static void test_written_pages(void **state)
{
    (void)state;
    struct emulator *emulator = emulator_new(&target, NULL, 1);
    uint64_t before = add_far(512), nr = FAR_WORDS / 512, word;
    for (int i = 0; i < 3; i++) {
        check_end(emulator, run(emulator, write_far, 512, 3), EMULATOR_RETURNED, "write_far");
        assert_int_equal(emulator->registers[RAX], before + 3 * nr);
        assert_true(emulator_read(emulator, (uint64_t)far_words, &word, sizeof(word)));
        assert_int_equal(word, far_words[0] + 3);
        check_end(emulator, run(emulator, write_far, 512, 4), EMULATOR_RETURNED, "write_far");
        assert_int_equal(emulator->registers[RAX], before + 7 * nr);
        emulator_undo(emulator);
        check_end(emulator, run(emulator, add_far, 512, 0), EMULATOR_RETURNED, "add_far");
        assert_int_equal(emulator->registers[RAX], before);
    }
    emulator_free(emulator);
}

static uint64_t touch_stack(uint64_t read_only)
{
    volatile uint64_t here[2000];
    uint64_t sum = 0;
    __asm__ volatile("" : "=m"(here)); /* as it is */
    for (int i = 0; i < 2000; i++) {
        if (!read_only)
            here[i] = 9;
        sum += here[i];
    }
    return sum;
}

/* The stack is zeroed too: what a run sees does not depend on the one before. */
static void test_stack_is_undone(void **state)
{
    (void)state;
    struct emulator *emulator = emulator_with(NULL);
    check_end(emulator, run(emulator, touch_stack, 0, 0), EMULATOR_RETURNED, "touch_stack");
    emulator_undo(emulator);
    check_end(emulator, run(emulator, touch_stack, 1, 0), EMULATOR_RETURNED, "touch_stack");
    assert_int_equal(emulator->registers[RAX], 0);
    emulator_free(emulator);
}

static uint64_t fill_bytes(uint8_t *bytes, uint64_t nr)
{
    for (uint64_t i = 0; i < nr; i++)
        bytes[i] = (uint8_t)(i + 1);
    return bytes[nr - 1];
}

static void test_own_memory(void **state)
{
    (void)state;
    struct emulator *emulator = emulator_with(NULL);
    uint64_t first = emulator_allocate(emulator, 10000), second = emulator_allocate(emulator, 1);
    uint8_t bytes[3];
    assert_true(first && second && first % 16 == 0 && second >= first + 10000);
    assert_true(emulator_is_own(emulator, first) && emulator_is_own(emulator, second));
    assert_false(emulator_is_own(emulator, second + 16) ||
                 emulator_is_own(emulator, (uint64_t)words));
    assert_null(target_mapping_at(&target, first));
    check_end(emulator, run(emulator, fill_bytes, first, 10000), EMULATOR_RETURNED, "fill_bytes");
    assert_true(emulator_read(emulator, first + 9997, bytes, 3));
    assert_memory_equal(bytes, "\x0e\x0f\x10", 3);
    assert_int_equal(emulator_allocate(emulator, (size_t)1 << 40), 0);
    emulator_undo(emulator);
    assert_false(emulator_is_own(emulator, first));
    assert_false(emulator_read(emulator, first, bytes, 1));
    assert_int_equal(emulator_allocate(emulator, 3), first);
    assert_true(emulator_read(emulator, first, bytes, 3));
    assert_memory_equal(bytes, "\0\0\0", 3);
    emulator_free(emulator);
}

/* --- ends ------------------------------------------------------------------------------------- */

static uint64_t loop_forever(uint64_t step)
{
    volatile uint64_t sum = 0;
    while (step)
        sum = sum + step;
    return sum;
}

static volatile uint64_t deepest = ~(uint64_t)0;

static uint64_t overflow_stack(uint64_t depth)
{
    volatile uint64_t here[64];
    here[depth % 64] = depth;
    if (depth == deepest)
        return 0;
    return overflow_stack(depth + 1) + here[(depth + 1) % 64];
}

static uint64_t read_at(const volatile uint64_t *word)
{
    return *word + 1;
}

static uint64_t write_at(volatile uint64_t *word)
{
    *word = 1;
    return 1;
}

static uint64_t call_at(uint64_t (*function)(void))
{
    return function() + 1;
}

__attribute__((no_sanitize("undefined"))) static uint64_t divide_by(uint64_t by)
{
    return 100 / by;
}

static void trap(void)
{
    __builtin_trap();
}

static void test_budget(void **state)
{
    (void)state;
    struct emulator *emulator = emulator_with(NULL);
    const uint64_t args[] = {3};
    for (uint64_t budget = 0; budget < 2000; budget += 333) {
        uint64_t before = emulator->nr_instructions;
        assert_int_equal(emulator_run(emulator, (uint64_t)loop_forever, args, 1, budget),
                         EMULATOR_BUDGET);
        assert_int_equal(emulator->nr_instructions - before, budget);
    }
    emulator_free(emulator);
}

static void test_faults(void **state)
{
    (void)state;
    struct emulator *emulator = emulator_with(NULL);
    check_end(emulator, run(emulator, read_at, 8, 0), EMULATOR_MEMORY, "a null pointer");
    assert_int_equal(emulator->fault_addr, 8);
    check_end(emulator, run(emulator, read_at, 0x8000000000000000, 0), EMULATOR_MEMORY,
              "no address");
    check_end(emulator, run(emulator, write_at, (uint64_t)&constant_word, 0), EMULATOR_MEMORY,
              "a constant");
    assert_int_equal(emulator->fault_addr, (uint64_t)&constant_word);
    check_end(emulator, run(emulator, write_at, (uint64_t)write_at, 0), EMULATOR_MEMORY, "code");
    check_end(emulator, run(emulator, call_at, (uint64_t)words, 0), EMULATOR_MEMORY,
              "data as code");
    assert_int_equal(emulator->fault_addr, (uint64_t)words);
    assert_int_equal(emulator->nr_calls, 2);
    check_end(emulator, run(emulator, call_at, 0, 0), EMULATOR_MEMORY, "a null function");
    check_end(emulator, run(emulator, overflow_stack, 0, 0), EMULATOR_MEMORY, "a deep recursion");
    assert_true(emulator->nr_calls > 50);
    check_end(emulator, run(emulator, divide_by, 7, 0), EMULATOR_RETURNED, "a division");
    check_end(emulator, run(emulator, divide_by, 0, 0), EMULATOR_INSTRUCTION, "a division by 0");
    char text[100];
    check_end(emulator, run(emulator, trap, 0, 0), EMULATOR_INSTRUCTION, "a trap");
    assert_string_equal(emulator_end_text(emulator, EMULATOR_INSTRUCTION, text, sizeof(text)),
                        "an instruction that is not known (ud2)");
    emulator_free(emulator);
}

/* --- intercepts and calls --------------------------------------------------------------------- */

__attribute__((noinline)) static uint64_t inner(uint64_t number)
{
    __asm__ volatile("" : "+r"(number));
    return number * 2;
}

__attribute__((noinline)) static uint64_t middle(uint64_t number)
{
    uint64_t result = inner(number + 1);
    __asm__ volatile("" : "+r"(result));
    return result + 10;
}

__attribute__((noinline)) static uint64_t outer(uint64_t number)
{
    uint64_t kept_number = number;
    __asm__ volatile("" : "+r"(kept_number));
    uint64_t result = middle(number + 1);
    __asm__ volatile("" : "+r"(result));
    return result + 1000 * kept_number;
}

struct seen {
    enum emulator_answer answer;
    unsigned nr;
    uint64_t argument, function;
    size_t nr_calls;
};

static enum emulator_answer see(void *context, struct emulator *emulator)
{
    struct seen *seen = context;
    seen->nr++;
    seen->argument = emulator->registers[RDI];
    seen->nr_calls = emulator->nr_calls;
    seen->function = emulator->calls[emulator->nr_calls - 1].function;
    assert_int_equal(emulator->pc, (uint64_t)inner);
    if (seen->answer == EMULATOR_ANSWERED)
        emulator->registers[RAX] = 500;
    return seen->answer;
}

static void test_intercepts(void **state)
{
    (void)state;
    struct seen seen = {.answer = EMULATOR_ANSWERED};
    struct emulator *emulator = emulator_with(NULL);
    emulator_intercept(emulator, (uint64_t)inner, see, &seen);
    check_end(emulator, run(emulator, outer, 5, 0), EMULATOR_RETURNED, "answered");
    assert_int_equal(emulator->registers[RAX], 5510);
    assert_int_equal(seen.argument, 7);
    assert_int_equal(seen.nr_calls, 3);
    assert_int_equal(seen.function, (uint64_t)inner);
    seen.answer = EMULATOR_GO_ON;
    check_end(emulator, run(emulator, outer, 5, 0), EMULATOR_RETURNED, "gone on");
    assert_int_equal(emulator->registers[RAX], 5024);
    seen.answer = EMULATOR_STOP;
    check_end(emulator, run(emulator, outer, 5, 0), EMULATOR_STOPPED, "stopped");
    assert_int_equal(emulator->pc, (uint64_t)inner);
    assert_int_equal(seen.nr, 3);
    check_end(emulator, run(emulator, inner, 5, 0), EMULATOR_STOPPED, "the first function");
    assert_int_equal(emulator->nr_calls, 1);
    emulator_free(emulator);
}

static void test_abandon(void **state)
{
    (void)state;
    struct seen seen = {.answer = EMULATOR_STOP};
    struct emulator *emulator = emulator_with(NULL);
    emulator_intercept(emulator, (uint64_t)inner, see, &seen);
    check_end(emulator, run(emulator, outer, 5, 0), EMULATOR_STOPPED, "stopped");
    check_end(emulator, emulator_abandon(emulator, 2, BUDGET), EMULATOR_RETURNED,
              "inner abandoned");
    assert_int_equal(emulator->registers[RAX], 5010);
    check_end(emulator, run(emulator, outer, 5, 0), EMULATOR_STOPPED, "stopped");
    check_end(emulator, emulator_abandon(emulator, 1, BUDGET), EMULATOR_RETURNED,
              "middle abandoned");
    assert_int_equal(emulator->registers[RAX], 5000);
    check_end(emulator, run(emulator, outer, 5, 0), EMULATOR_STOPPED, "stopped");
    check_end(emulator, emulator_abandon(emulator, 0, BUDGET), EMULATOR_RETURNED, "all abandoned");
    assert_int_equal(emulator->registers[RAX], 0);
    assert_int_equal(emulator->nr_calls, 0);
    emulator_free(emulator);
}

/* --- hooks ------------------------------------------------------------------------------------ */

struct told {
    uint64_t reads, last_addr, last_value;
    uint64_t changes, changed_addr, before, after;
    uint64_t system_calls;
    unsigned changed_bytes;
};

static void on_read(void *context, uint64_t addr, unsigned size_bytes, uint64_t value)
{
    struct told *told = context;
    assert_true(size_bytes >= 1 && size_bytes <= 8);
    if (addr - (uint64_t)words >= sizeof(words))
        return;
    told->reads++;
    told->last_addr = addr;
    told->last_value = value;
}

static void on_change(void *context, uint64_t addr, unsigned size_bytes, uint64_t before,
                      uint64_t after)
{
    struct told *told = context;
    if (addr - (uint64_t)words >= sizeof(words))
        return;
    told->changes++;
    told->changed_addr = addr;
    told->changed_bytes = size_bytes;
    told->before = before;
    told->after = after;
}

static enum emulator_answer on_syscall(void *context, struct emulator *emulator, uint64_t number)
{
    struct told *told = context;
    told->system_calls++;
    if (number != SYS_getppid)
        return EMULATOR_STOP;
    emulator->registers[RAX] = 4321;
    return EMULATOR_ANSWERED;
}

static uint64_t change_words(uint64_t *at)
{
    __atomic_fetch_sub(&at[3], 1, __ATOMIC_RELEASE);
    uint32_t expected = 16;
    __atomic_compare_exchange_n((uint32_t *)&at[4], &expected, 99, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_RELAXED);
    expected = 12345; /* this one fails: nothing is changed */
    __atomic_compare_exchange_n((uint32_t *)&at[5], &expected, 99, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_RELAXED);
    return *(volatile uint64_t *)&at[10];
}

static uint64_t copy_words(uint64_t *at)
{
    __asm__ volatile("movups (%0), %%xmm3\n movups %%xmm3, 64(%0)" ::"r"(at) : "xmm3", "memory");
    return 0;
}

static void test_hooks(void **state)
{
    (void)state;
    struct told told = {0};
    const struct emulator_hooks hooks = {
        .context = &told, .on_read = on_read, .on_change = on_change};
    struct emulator *emulator = emulator_with(&hooks);
    check_end(emulator, run(emulator, change_words, (uint64_t)words, 0), EMULATOR_RETURNED,
              "change_words");
    assert_int_equal(told.reads, 4);
    assert_int_equal(told.last_addr, (uint64_t)&words[10]);
    assert_int_equal(told.last_value, 100);
    assert_int_equal(told.changes, 2);
    assert_int_equal(told.changed_addr, (uint64_t)&words[4]);
    assert_int_equal(told.changed_bytes, 4);
    assert_int_equal(told.before, 16);
    assert_int_equal(told.after, 99);
    /* 16 bytes are told as two words. */
    check_end(emulator, run(emulator, copy_words, (uint64_t)&words[20], 0), EMULATOR_RETURNED,
              "copy_words");
    assert_int_equal(told.reads, 6);
    assert_int_equal(told.last_addr, (uint64_t)&words[21]);
    assert_int_equal(told.last_value, 441);
    emulator_free(emulator);
}

static void test_system_calls(void **state)
{
    (void)state;
    struct told told = {0};
    const struct emulator_hooks hooks = {.context = &told, .on_syscall = on_syscall};
    struct emulator *emulator = emulator_with(&hooks);
    check_end(emulator, run(emulator, getppid, 0, 0), EMULATOR_RETURNED, "getppid");
    assert_int_equal(emulator->registers[RAX], 4321);
    check_end(emulator, run(emulator, getpid, 0, 0), EMULATOR_STOPPED, "getpid");
    assert_int_equal(told.system_calls, 2);
    emulator_free(emulator);
    emulator = emulator_with(NULL);
    check_end(emulator, run(emulator, getppid, 0, 0), EMULATOR_STOPPED, "no hook");
    emulator_free(emulator);
}

/* --- odd ways of returning -------------------------------------------------------------------- */

uint64_t odd_retpoline(uint64_t (*function)(uint64_t), uint64_t number);
uint64_t odd_push_return(uint64_t (*function)(uint64_t), uint64_t number);
uint64_t odd_change_own_return(uint64_t number);
uint64_t odd_stack_switch(uint64_t *stack);
uint64_t odd_unknown_flag(uint64_t number);
uint64_t odd_save(uint64_t *area, uint64_t number);
uint64_t odd_save_compact(uint64_t *area, uint64_t number);

__asm__(".intel_syntax noprefix\n"
        "odd_retpoline:\n" /* calls rdi(rsi) through a return */
        "  mov rax, rdi\n  mov rdi, rsi\n  call 1f\n"
        "2: pause\n  jmp 2b\n"
        "1: mov [rsp], rax\n  ret\n"
        "odd_push_return:\n"
        "  mov rax, rdi\n  mov rdi, rsi\n  push rax\n  ret\n"
        "odd_change_own_return:\n"
        "  lea rax, [rip + odd_retpoline]\n  mov [rsp], rax\n  ret\n"
        "odd_stack_switch:\n"
        "  mov rax, rsp\n  lea rsp, [rdi + 512]\n  push rax\n  call 3f\n  pop rsp\n  ret\n"
        "3: mov eax, 9\n  ret\n"
        "odd_unknown_flag:\n"
        "  xor eax, eax\n  imul rdi, rdi\n  setz al\n  ret\n"
        ".irp kind, , c\n" /* number * 2, if the registers are saved and restored */
        ".ifb \\kind\nodd_save:\n.else\nodd_save_compact:\n.endif\n"
        "  movq xmm5, rsi\n  vpbroadcastq ymm6, xmm5\n  mov eax, 0xee\n  xor edx, edx\n"
        "  xsave\\kind [rdi]\n"
        "  pxor xmm5, xmm5\n  vpxor ymm6, ymm6, ymm6\n"
        "  xrstor [rdi]\n"
        "  vextracti128 xmm7, ymm6, 1\n  movq rax, xmm7\n  movq rcx, xmm5\n  add rax, rcx\n  ret\n"
        ".endr\n"
        ".att_syntax\n");

/* Only interpreted: the processor may have no AVX. */
static void test_saved_registers(void **state)
{
    (void)state;
    struct emulator *emulator = emulator_with(NULL);
    uint64_t area = emulator_allocate(emulator, 4096);
    check_end(emulator, run(emulator, odd_save, area, 1234), EMULATOR_RETURNED, "xsave");
    assert_int_equal(emulator->registers[RAX], 2468);
    emulator_undo(emulator);
    area = emulator_allocate(emulator, 4096);
    check_end(emulator, run(emulator, odd_save_compact, area, 1234), EMULATOR_RETURNED, "xsavec");
    assert_int_equal(emulator->registers[RAX], 2468);
    emulator_free(emulator);
}

static void test_odd_returns(void **state)
{
    (void)state;
    struct emulator *emulator = emulator_with(NULL);
    check_end(emulator, run(emulator, odd_retpoline, (uint64_t)inner, 21), EMULATOR_RETURNED,
              "retpoline");
    assert_int_equal(emulator->registers[RAX], 42);
    check_end(emulator, run(emulator, odd_push_return, (uint64_t)inner, 21), EMULATOR_RETURNED,
              "push, ret");
    assert_int_equal(emulator->registers[RAX], 42);
    check_end(emulator, run(emulator, odd_change_own_return, 0, 0), EMULATOR_MEMORY,
              "a changed return");
    check_end(emulator, run(emulator, odd_stack_switch, (uint64_t)words, 0), EMULATOR_MEMORY,
              "another stack");
    check_end(emulator, run(emulator, odd_unknown_flag, 3, 0), EMULATOR_INSTRUCTION,
              "an undefined flag");
    emulator_free(emulator);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions),       cmocka_unit_test(test_lazy_binding),
        cmocka_unit_test(test_small_cache),     cmocka_unit_test(test_written_pages),
        cmocka_unit_test(test_stack_is_undone), cmocka_unit_test(test_own_memory),
        cmocka_unit_test(test_budget),          cmocka_unit_test(test_faults),
        cmocka_unit_test(test_intercepts),      cmocka_unit_test(test_abandon),
        cmocka_unit_test(test_hooks),           cmocka_unit_test(test_system_calls),
        cmocka_unit_test(test_odd_returns),     cmocka_unit_test(test_saved_registers),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
