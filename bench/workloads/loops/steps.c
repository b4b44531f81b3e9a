/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Counts the instructions that a thread executes, one step after the other: `steps COMMAND...`.
 *
 * What COMMAND starts, itself or a descendant, prints its process id and waits for a line on stdin; the
 * steps of that thread are counted from there to its end.  valgrind would count the same, but has no
 * room for the tracer's region in its own address space.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
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

/* Until the process ends, which its tracer is told too; signals are passed on. */
static unsigned long count_steps(pid_t pid)
{
    unsigned long nr = 0;
    int status;
    while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
        int number = WSTOPSIG(status);
        bool is_step = number == SIGTRAP;
        nr += is_step;
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, is_step ? NULL : (void *)(long)number))
            break;
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
