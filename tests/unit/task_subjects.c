/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "task_subjects.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>

enum { ONE_REF = 64 };

/* As drop glue is named; what it waits for cannot come. */
void task_drop_lock(void **lock) __asm__(
    "_ZN4core3ptr36drop_in_place$LT$demo..Locked$GT$17h0123456789abcdefE");

/* By its name that of an allocator that is not read; its blocks are all of one size. */
size_t mi_usable_size(const void *block)
{
    return block ? FOREIGN_BYTES : 0;
}

/* --- parts ----------------------------------------------------------------------------------- */

static void futex_wait(uint64_t *word)
{
    uint64_t result = SYS_futex;
    __asm__ volatile("xorl %%r10d, %%r10d\n\tsyscall"
                     : "+a"(result)
                     : "D"(word), "S"((uint64_t)FUTEX_WAIT), "d"(*word)
                     : "rcx", "r11", "r10", "memory");
}

/* {lock, value}: the value goes when the lock was had. */
__attribute__((noinline)) void task_drop_lock(void **lock)
{
    while (lock[0])
        futex_wait((uint64_t *)&lock[0]);
    free(lock[1]);
    free(lock);
}

static void drop_list(struct subject_node *node)
{
    while (node) {
        struct subject_node *next = node->next;
        free(node);
        node = next;
    }
}

static void drop_arc(struct subject_arc *arc)
{
    if (!arc || __atomic_sub_fetch(&arc->strong, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    free(arc->first);
    free(arc->second);
    if (__atomic_sub_fetch(&arc->weak, 1, __ATOMIC_ACQ_REL) == 0)
        free(arc);
}

/* Of the handle of a finished task: the last one, with the output. */
static void drop_handle(struct subject_cell *finished)
{
    if (!finished)
        return;
    free((void *)finished->stage[8]);
    free(finished);
}

static void drop_boxed(uint64_t *box)
{
    if (!box)
        return;
    free((void *)box[3]);
    free(box);
}

static void drop_stage(struct subject_cell *cell)
{
    free((void *)cell->stage[0]);
    drop_list((struct subject_node *)cell->stage[1]);
    drop_arc((struct subject_arc *)cell->stage[2]);
    drop_arc((struct subject_arc *)cell->stage[3]);
    free((void *)cell->stage[4]);
    drop_handle((struct subject_cell *)cell->stage[5]);
    if (cell->stage[6])
        task_drop_lock((void **)cell->stage[6]);
    drop_boxed((uint64_t *)cell->stage[7]);
    free((void *)cell->stage[8]);
}

/* --- functions of vtables -------------------------------------------------------------------- */

static void nothing(void *cell)
{
    __asm__ volatile("" : : "r"(cell));
}

/* Gives up one reference; the last one frees the cell. */
static void give_up(void *context)
{
    struct subject_cell *cell = context;
    if (__atomic_sub_fetch(&cell->state, ONE_REF, __ATOMIC_ACQ_REL) < ONE_REF) {
        drop_stage(cell);
        free(cell);
    }
}

static void dealloc(void *cell)
{
    drop_stage(cell);
    free(cell);
}

static void leak(void *context)
{
    struct subject_cell *cell = context;
    drop_stage(cell);
    /* Its own memory only where another owner is not there. */
    if (!cell->stage[9])
        free(cell);
}

static void never_end(void *context)
{
    struct subject_cell *cell = context;
    free((void *)cell->stage[0]);
    for (volatile uint64_t *word = &cell->stage[10]; !*word;)
        ;
    free(cell);
}

static void free_within(void *context)
{
    struct subject_cell *cell = context;
    free((void *)cell->stage[0]);
    free((char *)cell->stage[8] + 8);
    free(cell);
}

static void lock_itself(void *context)
{
    struct subject_cell *cell = context;
    free((void *)cell->stage[0]);
    while (cell->stage[9])
        futex_wait(&cell->stage[9]);
    free(cell);
}

#define VTABLE(name, second, third, fifth)                                                         \
    task_fn *const name[TASK_SLOTS] = {give_up, nothing, second, third, fifth, give_up, nothing}
VTABLE(task_usual, dealloc, nothing, give_up);
VTABLE(task_reordered, give_up, nothing, dealloc);
VTABLE(task_without, nothing, give_up, nothing);
VTABLE(task_leaking, leak, nothing, give_up);
VTABLE(task_endless, never_end, nothing, give_up);
VTABLE(task_careless, free_within, nothing, give_up);
VTABLE(task_locked, lock_itself, nothing, give_up);
#undef VTABLE
