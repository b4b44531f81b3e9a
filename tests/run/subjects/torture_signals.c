/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The modes of `torture` whose signal handlers allocate.  libc's malloc must not be called in a handler that
 * interrupted it.  So either the signals are raised between allocations, or the handler looks where it came
 * from, and allocates only if that is this program's own code or the tracer's.
 */
#include "torture.h"

#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

enum { SIGNAL_STACK_BYTES = 16384, MAX_RANGES = 8 };

static volatile sig_atomic_t nr_signals, nr_in_tracer;
static void *kept; /* by the handlers, which are blocked in each other */

static struct range {
    uintptr_t start, end;
    bool is_tracer;
} ranges[MAX_RANGES];
static size_t nr_ranges;

static void allocate(int number)
{
    char *block = malloc((size_t)number * 10);
    torture_check(block != NULL, "no memory in a handler");
    block[0] = 1;
    free(block);
    kept = realloc(kept, (size_t)(nr_signals % 500) + 1);
    torture_count(&torture_made);
    torture_count(&torture_gone);
    torture_count(&torture_made);
    if (nr_signals++)
        torture_count(&torture_gone);
}

static void at_rest(int number)
{
    int saved = errno;
    allocate(number);
    errno = saved;
}

static void at_any_time(int number, siginfo_t *info, void *context)
{
    (void)info;
    uintptr_t pc = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    int saved = errno;
    for (size_t i = 0; i < nr_ranges; i++) {
        if (pc < ranges[i].start || pc >= ranges[i].end)
            continue;
        nr_in_tracer += ranges[i].is_tracer;
        allocate(number);
    }
    errno = saved;
}

static void catch_signal(int number, struct sigaction action, bool on_own_stack)
{
    action.sa_flags |= SA_RESTART | (on_own_stack ? SA_ONSTACK : 0);
    sigfillset(&action.sa_mask);
    torture_check(!sigaction(number, &action, NULL), "sigaction");
}

static void use_signal_stack(void)
{
    static char memory[SIGNAL_STACK_BYTES];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof(memory)};
    torture_check(!sigaltstack(&stack, NULL), "sigaltstack");
}

static int run_signals(unsigned long amount, const char *file)
{
    (void)file;
    uint64_t sum = 0;
    struct sigaction action = {.sa_handler = at_rest};
    use_signal_stack();
    catch_signal(SIGUSR1, action, false);
    catch_signal(SIGUSR2, action, true);
    for (unsigned long i = 0; i < amount; i++) {
        sum += torture_churn(20, i);
        raise(i & 1 ? SIGUSR1 : SIGUSR2);
    }
    printf("signals %d %016lx\n", (int)nr_signals, (unsigned long)sum);
    return 0;
}

static int note_code(struct dl_phdr_info *image, size_t nr_bytes, void *data)
{
    (void)nr_bytes;
    (void)data;
    bool is_tracer = strstr(image->dlpi_name, "asyncmem-trace") != NULL;
    if (image->dlpi_name[0] && !is_tracer)
        return 0;
    for (int i = 0; i < image->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &image->dlpi_phdr[i];
        uintptr_t start = image->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && part->p_flags & PF_X && nr_ranges < MAX_RANGES)
            ranges[nr_ranges++] = (struct range){start, start + part->p_memsz, is_tracer};
    }
    return 0;
}

static void set_timers(long every_us)
{
    struct itimerval timer = {.it_interval = {.tv_usec = every_us},
                              .it_value = {.tv_usec = every_us}};
    torture_check(!setitimer(ITIMER_REAL, &timer, NULL) && !setitimer(ITIMER_PROF, &timer, NULL),
                  "setitimer");
}

/* Every allocation of this process is counted in torture_made: what says so allocates nothing. */
static int run_storm(unsigned long amount, const char *file)
{
    (void)file;
    uint64_t sum = 0;
    struct sigaction action = {.sa_sigaction = at_any_time, .sa_flags = SA_SIGINFO};
    dl_iterate_phdr(note_code, NULL);
    use_signal_stack();
    catch_signal(SIGALRM, action, false);
    catch_signal(SIGPROF, action, true);
    set_timers(200);
    for (unsigned long i = 0; i < amount; i++)
        sum += torture_churn(1000, i);
    set_timers(0);
    char text[256];
    int nr = snprintf(text, sizeof(text), "storm %016lx\n", (unsigned long)sum);
    torture_check(write(STDOUT_FILENO, text, (size_t)nr) == nr, "write");
    nr = snprintf(text, sizeof(text),
                  "{\"signals\":%d,\"in_tracer\":%d,\"allocations\":%lu,\"frees\":%lu}\n",
                  (int)nr_signals, (int)nr_in_tracer, (unsigned long)torture_made,
                  (unsigned long)torture_gone);
    torture_check(write(STDERR_FILENO, text, (size_t)nr) == nr, "write");
    _exit(0);
}

const struct torture_mode torture_signal_modes[] = {
    {"signals", run_signals},
    {"storm", run_storm},
    {NULL, NULL},
};
