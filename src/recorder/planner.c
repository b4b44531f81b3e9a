/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/planner.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "program/plan_compile.h"
#include "program/tasks.h"
#include "recorder/image_file.h"

/* The image's row says last that the plan is there. */
static void publish(uint8_t *region, const struct region_view *view,
                    const struct planner_question *question, const struct loaded_plan *plan)
{
    uint64_t row = region_row_offset(view, REGION_IMAGES, 0, question->image);
    struct region_image *image = (struct region_image *)(region + row);
    memcpy(region + view->tables[REGION_PLANS].offset_bytes + question->offset, plan->bytes,
           plan->size_bytes);
    __atomic_store_n(&image->plan_offset, question->offset, __ATOMIC_RELAXED);
    __atomic_store_n(&image->plan_bytes, (uint32_t)plan->size_bytes,
                     __ATOMIC_RELEASE); /* pairs with the tracer's reading of it */
}

static bool write_plan(const struct region_view *view, const struct planner_question *question,
                       const struct loaded_plan *plan)
{
    if (plan->size_bytes > UINT32_MAX ||
        !region_plan_bytes(view, question->offset, plan->size_bytes))
        return false;
    void *region =
        mmap(NULL, view->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, view->fd, 0);
    if (region == MAP_FAILED)
        return false;
    publish(region, view, question, plan);
    munmap(region, view->size);
    return true;
}

static bool answer_image(const struct region_view *view, const struct planner_question *question,
                         struct helper_answer *answer, struct error *err)
{
    char path[PATH_MAX];
    struct region_image image; /* a copy: the program can change the row */
    const void *row = region_row(view, REGION_IMAGES, question->image);
    if (!row)
        return error_set(err, ERROR_INPUT, "there is no such image");
    memcpy(&image, row, sizeof(image));
    if (!image_file_path(path, (pid_t)question->pid, &image))
        return error_set(err, ERROR_INPUT, "%.500s: the file is gone, or another by now",
                         image.path);
    struct loaded_plan plan;
    const struct plan_request request = {
        .path = path, .level = PLAN_LEVEL_MEMORY, .use_cache = true};
    if (!plan_load(&plan, &request, err))
        return false;
    bool ok = write_plan(view, question, &plan) ||
              error_set(err, ERROR_TARGET, "no room for the plan of %.500s", path);
    if (ok)
        answer->numbers[0] = (question->offset + plan.size_bytes + 7) & ~(uint64_t)7;
    plan_unload(&plan);
    return ok;
}

/* The program's own plan, before its tracer has found out that one is wanted. */
static void warm_up(int fd)
{
    char link[32], path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    if (length <= 0)
        return;
    path[length] = 0;
    struct loaded_plan plan;
    const struct plan_request request = {
        .path = path, .level = PLAN_LEVEL_MEMORY, .use_cache = true};
    if (tasks_in_file(path) && plan_load(&plan, &request, NULL))
        plan_unload(&plan);
}

void planner_answer(const struct helper_question *question, struct helper_answer *answer,
                    void **state)
{
    (void)state;
    struct planner_question asked;
    struct region_view view;
    struct error err = {0};
    memcpy(&asked, question->bytes, sizeof(asked));
    answer->numbers[0] = asked.offset;
    if (!asked.image) {
        warm_up(question->files[0]);
        return;
    }
    if (region_view_fd(&view, question->files[0], &err)) {
        answer->is_ok = answer_image(&view, &asked, answer, &err);
        region_view_close(&view);
    }
    snprintf(answer->message, sizeof(answer->message), "%.500s", err.message);
}
