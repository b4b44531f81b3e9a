/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "native_cpu.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

void native_enter(struct native_state *state, const void *code, unsigned vector_bytes);

/* rdi: state, rsi: code, edx: bytes of a vector register. */
__asm__(".intel_syntax noprefix\n"
        ".text\n"
        ".globl native_enter, native_end\n"
        "native_enter:\n"
        "push rbx\n"
        "push rbp\n"
        "push r12\n"
        "push r13\n"
        "push r14\n"
        "push r15\n"
        "mov native_stack[rip], rsp\n"
        "mov native_saved[rip], rdi\n"
        "mov native_code[rip], rsi\n"
        "mov native_bytes[rip], edx\n"
        "cmp edx, 64\n"
        "jae 1f\n"
        "cmp edx, 32\n"
        "jae 2f\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "movups xmm\\n, [rdi + 256 + 64 * \\n]\n"
        ".endr\n"
        "jmp 3f\n"
        "2:  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "vmovups ymm\\n, [rdi + 256 + 64 * \\n]\n"
        ".endr\n"
        "jmp 3f\n"
        "1:  .irp n, "
        "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "vmovups zmm\\n, [rdi + 256 + 64 * \\n]\n"
        ".endr\n"
        ".irp n, 0,1,2,3,4,5,6,7\n"
        "kmovq k\\n, [rdi + 136 + 8 * \\n]\n"
        ".endr\n"
        "3:  push qword ptr [rdi + 128]\n"
        "popfq\n"
        "mov rax, [rdi]\n"
        "mov rcx, [rdi + 8]\n"
        "mov rdx, [rdi + 16]\n"
        "mov rbx, [rdi + 24]\n"
        "mov rsp, [rdi + 32]\n"
        "mov rbp, [rdi + 40]\n"
        "mov rsi, [rdi + 48]\n"
        ".irp n, 8,9,10,11,12,13,14,15\n"
        "mov r\\n, [rdi + 8 * \\n]\n"
        ".endr\n"
        "mov rdi, [rdi + 56]\n"
        "jmp qword ptr native_code[rip]\n"
        "native_end:\n"
        "mov native_rsp[rip], rsp\n"
        "mov rsp, native_stack[rip]\n"
        "mov native_rdi[rip], rdi\n"
        "mov rdi, native_saved[rip]\n"
        "mov [rdi], rax\n"
        "pushfq\n"
        "pop qword ptr [rdi + 128]\n"
        "cld\n"
        "mov [rdi + 8], rcx\n"
        "mov [rdi + 16], rdx\n"
        "mov [rdi + 24], rbx\n"
        "mov [rdi + 40], rbp\n"
        "mov [rdi + 48], rsi\n"
        ".irp n, 8,9,10,11,12,13,14,15\n"
        "mov [rdi + 8 * \\n], r\\n\n"
        ".endr\n"
        "mov rax, native_rsp[rip]\n"
        "mov [rdi + 32], rax\n"
        "mov rax, native_rdi[rip]\n"
        "mov [rdi + 56], rax\n"
        "mov edx, native_bytes[rip]\n"
        "cmp edx, 64\n"
        "jae 1f\n"
        "cmp edx, 32\n"
        "jae 2f\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "movups [rdi + 256 + 64 * \\n], xmm\\n\n"
        ".endr\n"
        "jmp 3f\n"
        "2:  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "vmovups [rdi + 256 + 64 * \\n], ymm\\n\n"
        ".endr\n"
        "vzeroupper\n"
        "jmp 3f\n"
        "1:  .irp n, "
        "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "vmovups [rdi + 256 + 64 * \\n], zmm\\n\n"
        ".endr\n"
        ".irp n, 0,1,2,3,4,5,6,7\n"
        "kmovq [rdi + 136 + 8 * \\n], k\\n\n"
        ".endr\n"
        "vzeroupper\n"
        "3:  pop r15\n"
        "pop r14\n"
        "pop r13\n"
        "pop r12\n"
        "pop rbp\n"
        "pop rbx\n"
        "ret\n"
        ".local native_stack, native_saved, native_code, native_rsp, native_rdi, native_bytes\n"
        ".comm native_stack, 8, 8\n"
        ".comm native_saved, 8, 8\n"
        ".comm native_code, 8, 8\n"
        ".comm native_rsp, 8, 8\n"
        ".comm native_rdi, 8, 8\n"
        ".comm native_bytes, 4, 4\n"
        ".att_syntax\n");

_Static_assert(offsetof(struct native_state, flags) == 128 &&
                   offsetof(struct native_state, masks) == 136 &&
                   offsetof(struct native_state, vectors) == 256,
               "as the assembly has it");

static sigjmp_buf after_signal;

static void on_signal(int number)
{
    siglongjmp(after_signal, number);
}

static void catch_signals(void)
{
    static uint8_t stack[65536];
    static bool is_done;
    if (is_done)
        return;
    is_done = true;
    const stack_t alternative = {.ss_sp = stack, .ss_size = sizeof(stack)};
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_NODEFER};
    sigaltstack(&alternative, NULL);
    const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (unsigned i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        sigaction(signals[i], &action, NULL);
}

unsigned native_vector_bytes(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return 64;
    return __builtin_cpu_supports("avx2") ? 32 : 16;
}

void *native_code_new(size_t size_bytes)
{
    void *code = mmap((void *)0x200000000, size_bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return code == MAP_FAILED ? NULL : code;
}

size_t native_code_put(uint8_t *to, const uint8_t *code, size_t size)
{
    static const uint8_t jump[] = {0xff, 0x25, 0, 0, 0, 0}; /* jmp [rip] */
    uint64_t end = (uint64_t)native_end;
    memcpy(to, code, size);
    memcpy(to + size, jump, sizeof(jump));
    memcpy(to + size + sizeof(jump), &end, sizeof(end));
    return size + sizeof(jump) + sizeof(end);
}

int native_run(struct native_state *state, const void *code)
{
    catch_signals();
    struct native_state work = *state;
    int number = sigsetjmp(after_signal, 0);
    if (number)
        return number;
    native_enter(&work, code, native_vector_bytes());
    *state = work;
    return 0;
}
