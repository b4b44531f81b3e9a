/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Counts the instructions that a thread executes, one step after the other: `steps COMMAND...`.
 *
 * What COMMAND starts, itself or a descendant, prints its process id and waits for a line on stdin; the
 * steps of that thread are counted from its first SIGURG to the next.  valgrind would count the same, but has no
 * room for the tracer's region in its own address space.
 *
 * A step takes longer than many instructions do.  So that what looks at the clock sees a program of its usual
 * speed, the processor's counter shows the number of steps: rdtsc is carried out here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static pid_t start(char **words, int *to_child, FILE **from_child)
{
    int in[2], out[2];
    if (pipe(in) || pipe(out))
        fail("pipe");
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        close(in[1]);
        execvp(words[0], words);
        fail(words[0]);
    }
    close(in[0]);
    close(out[1]);
    *to_child = in[1];
    *from_child = fdopen(out[0], "r");
    return child;
}

static int open_memory(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
    int memory = open(path, O_RDONLY | O_CLOEXEC);
    if (memory < 0)
        fail(path);
    return memory;
}

/* If the next instruction is rdtsc, does it: the counter is `ticks`. */
static bool read_counter(pid_t pid, int memory, uint64_t ticks)
{
    static const uint8_t rdtsc[2] = {0x0f, 0x31};
    struct user_regs_struct registers;
    uint8_t code[2];
    if (ptrace(PTRACE_GETREGS, pid, NULL, &registers) ||
        pread(memory, code, sizeof(code), (off_t)registers.rip) != sizeof(code) ||
        memcmp(code, rdtsc, sizeof(code)))
        return false;
    registers.rax = (uint32_t)ticks;
    registers.rdx = ticks >> 32;
    registers.rip += sizeof(code);
    return ptrace(PTRACE_SETREGS, pid, NULL, &registers) == 0;
}

/* To the end of the process, which its tracer is told too; signals are passed on. */
static unsigned long count_steps(pid_t pid)
{
    unsigned long nr = 0, nr_marks = 0;
    uint64_t started = __builtin_ia32_rdtsc(), ticks = 0;
    int status, memory = open_memory(pid);
    while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
        int number = WSTOPSIG(status);
        bool is_step = number == SIGTRAP;
        bool is_rdtsc = is_step && read_counter(pid, memory, started + ticks);
        ticks += is_step + is_rdtsc;
        nr += nr_marks == 1 ? is_step + is_rdtsc : 0;
        nr_marks += number == SIGURG;
        if (ptrace(nr_marks < 2 ? PTRACE_SINGLESTEP : PTRACE_CONT, pid, NULL,
                   is_step ? NULL : (void *)(long)number))
            break;
    }
    close(memory);
    if (nr_marks != 2) {
        fprintf(stderr, "steps: %lu marks instead of 2\n", nr_marks);
        exit(1);
    }
    return nr;
}

int main(int argc, char **argv)
{
    int to_child, status;
    FILE *from_child;
    char line[64];
    if (argc < 2)
        return 2;
    pid_t child = start(argv + 1, &to_child, &from_child);
    if (!from_child || !fgets(line, sizeof(line), from_child))
        fail("the program says nothing");
    pid_t pid = atoi(line);
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) || ptrace(PTRACE_INTERRUPT, pid, NULL, NULL))
        fail("ptrace");
    if (write(to_child, "\n", 1) != 1)
        fail("write");
    printf("%lu\n", count_steps(pid));
    if (child != pid && waitpid(child, &status, 0) == child && status)
        fail("the command failed");
    return 0;
}
