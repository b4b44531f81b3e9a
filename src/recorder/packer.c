/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/packer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/run_build.h"
#include "model/run_file.h"
#include "program/plan_compile.h"
#include "recorder/image_file.h"
#include "recorder/memory_file.h"

/* The plan of an image, from the region or made here. */
struct image_plan {
    struct plan plan;
    void *copy; /* of the region's bytes, which the program can change; NULL: */
    struct loaded_plan loaded;
};

struct packer {
    struct region_view view;
    int region_fd; /* -1: none yet */
    ino_t region_inode;
    struct run_symbols *symbols;
    struct image_plan **plans; /* by row of REGION_IMAGES; NULL: none */
    const struct plan **plan_rows;
    size_t nr_plans;
};

/* --- the input ----------------------------------------------------------------------------------- */

struct input {
    const struct pack_input *head;
    uint64_t bytes;
    const struct run_step *steps;
    const struct run_build_step_type *step_types;
    const uint64_t *site_peaks;
    const char *path, *program, *command;
    const char **notes;
    struct run_build_snapshot snapshots[PACK_MAX_SNAPSHOTS];
};

static const void *map_file(int fd, uint64_t *bytes)
{
    struct stat st;
    *bytes = fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    void *mapped = *bytes ? mmap(NULL, *bytes, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    return mapped == MAP_FAILED ? NULL : mapped;
}

/* It comes from the recorder, so it is trusted. */
static bool open_input(struct input *input, const struct helper_question *question)
{
    *input = (struct input){0};
    input->head = map_file(question->files[PACK_INPUT_FILE], &input->bytes);
    if (!input->head)
        return false;
    const struct pack_input *head = input->head;
    input->steps = (const void *)(head + 1);
    input->step_types = (const void *)(input->steps + head->nr_steps);
    input->site_peaks = (const void *)(input->step_types + head->nr_step_types);
    const char *at = (const void *)(input->site_peaks + head->nr_site_peaks);
    const char **first[] = {&input->path, &input->program, &input->command};
    for (size_t i = 0; i < 3; i++, at += strlen(at) + 1)
        *first[i] = at;
    input->notes = memory_alloc((head->nr_notes + 1) * sizeof(*input->notes));
    for (size_t i = 0; i < head->nr_notes; i++, at += strlen(at) + 1)
        input->notes[i] = at;
    for (size_t i = 0; i < head->nr_snapshots; i++) {
        struct run_build_snapshot *snapshot = &input->snapshots[i];
        snapshot->t_ns = head->snapshots[i].t_ns;
        snapshot->live_bytes = head->snapshots[i].live_bytes;
        snapshot->why = (enum run_snapshot_why)head->snapshots[i].why;
        snapshot->bytes = map_file(question->files[PACK_FIRST_SNAPSHOT + i], &snapshot->nr_bytes);
    }
    return true;
}

static void close_input(struct input *input)
{
    for (size_t i = 0; i < input->head->nr_snapshots; i++)
        if (input->snapshots[i].bytes)
            munmap((void *)input->snapshots[i].bytes, input->snapshots[i].nr_bytes);
    free(input->notes);
    munmap((void *)input->head, input->bytes);
}

/* --- the region and its plans -------------------------------------------------------------------- */

static void drop_plans(struct packer *packer)
{
    for (size_t i = 0; i < packer->nr_plans; i++) {
        struct image_plan *plan = packer->plans[i];
        if (plan && !plan->copy)
            plan_unload(&plan->loaded);
        if (plan)
            free(plan->copy);
        free(plan);
    }
    free(packer->plans);
    free(packer->plan_rows);
    packer->plans = NULL;
    packer->plan_rows = NULL;
    packer->nr_plans = 0;
}

/* The same region as before stays open. */
static bool open_region(struct packer *packer, int fd, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return error_set(err, ERROR_INPUT, "the live region is not there");
    if (packer->region_fd >= 0 && st.st_ino == packer->region_inode)
        return true;
    if (packer->region_fd >= 0) {
        region_view_close(&packer->view);
        close(packer->region_fd);
        drop_plans(packer);
    }
    packer->region_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    packer->region_inode = st.st_ino;
    if (packer->region_fd >= 0 && region_view_fd(&packer->view, packer->region_fd, err)) {
        packer->nr_plans = packer->view.tables[REGION_IMAGES].max_rows;
        packer->plans = memory_alloc(packer->nr_plans * sizeof(*packer->plans));
        packer->plan_rows = memory_alloc(packer->nr_plans * sizeof(*packer->plan_rows));
        return true;
    }
    if (packer->region_fd >= 0)
        close(packer->region_fd);
    packer->region_fd = -1;
    return false;
}

static struct image_plan *copy_plan(const struct region_view *view,
                                    const struct region_image *image)
{
    const char *problem;
    const void *bytes =
        image->plan_bytes ? region_plan_bytes(view, image->plan_offset, image->plan_bytes) : NULL;
    if (!bytes)
        return NULL;
    struct image_plan *plan = memory_alloc(sizeof(*plan));
    plan->copy = memory_alloc(image->plan_bytes);
    memcpy(plan->copy, bytes, image->plan_bytes);
    if (plan_open(&plan->plan, plan->copy, image->plan_bytes, &problem))
        return plan;
    free(plan->copy);
    free(plan);
    return NULL;
}

static struct image_plan *make_plan(const struct region_image *image, pid_t pid)
{
    char path[PATH_MAX];
    struct plan_request request = {.path = path, .level = PLAN_LEVEL_MEMORY, .use_cache = true};
    struct image_plan *plan = memory_alloc(sizeof(*plan));
    if (image_file_path(path, pid, image) && plan_load(&plan->loaded, &request, NULL)) {
        plan->plan = plan->loaded.plan;
        return plan;
    }
    free(plan);
    return NULL;
}

/* Plans that came since the last time; at the end also those that did not come in time. */
static void take_plans(struct packer *packer, const struct pack_input *head)
{
    uint32_t nr = region_nr_rows(&packer->view, REGION_IMAGES);
    for (uint32_t id = 1; id < nr && id < packer->nr_plans; id++) {
        struct region_image image; /* a copy: the program can change the row */
        const void *row = region_row(&packer->view, REGION_IMAGES, id);
        if (packer->plans[id] || !row)
            continue;
        memcpy(&image, row, sizeof(image));
        if (!image.is_written || (!image.nr_vtables && !image.plan_bytes))
            continue;
        packer->plans[id] = copy_plan(&packer->view, &image);
        if (!packer->plans[id] && head->is_final && image.nr_vtables)
            packer->plans[id] = make_plan(&image, (pid_t)head->pid);
        packer->plan_rows[id] = packer->plans[id] ? &packer->plans[id]->plan : NULL;
    }
}

/* --- packing ------------------------------------------------------------------------------------- */

static bool build(struct run *run, struct packer *packer, const struct input *input,
                  struct error *err)
{
    const struct pack_input *head = input->head;
    const struct run_build_input model = {
        .region = &packer->view,
        .program = input->program,
        .command = input->command,
        .pid = head->pid,
        .ended_by = (enum run_ended_by)head->ended_by,
        .exit_status = head->exit_status,
        .ended_at_ns = head->ended_at_ns,
        .peak_rss_bytes = head->peak_rss_bytes,
        .plans = packer->plan_rows,
        .nr_plans = packer->nr_plans,
        .steps = input->steps,
        .nr_steps = head->nr_steps,
        .step_types = input->step_types,
        .nr_step_types = head->nr_step_types,
        .site_peaks = head->nr_site_peaks ? input->site_peaks : NULL,
        .nr_site_peaks = head->nr_site_peaks,
        .snapshots = input->snapshots,
        .nr_snapshots = head->nr_snapshots,
        .notes = input->notes,
        .nr_notes = head->nr_notes,
        .symbols = packer->symbols,
    };
    return run_build(run, &model, err);
}

static void write_file(const struct run *run, const struct input *input,
                       struct helper_answer *answer, struct error *err)
{
    struct text bytes;
    text_init(&bytes);
    run_file_pack(run, &bytes);
    answer->numbers[0] = bytes.length;
    answer->is_ok = file_replace(input->path, bytes.data, bytes.length, err);
    if (input->head->is_final)
        answer->file = memory_file_make("recording", bytes.data, bytes.length);
    text_deinit(&bytes);
}

void packer_answer(const struct helper_question *question, struct helper_answer *answer,
                   void **state)
{
    struct packer *packer = *state;
    struct error err = {0};
    struct input input;
    struct run run;
    if (!packer) {
        *state = packer = memory_alloc(sizeof(*packer));
        packer->region_fd = -1;
        packer->symbols = run_symbols_new();
    }
    if (!open_input(&input, question)) {
        snprintf(answer->message, sizeof(answer->message), "no memory for the recording");
        return;
    }
    run_init(&run);
    if (open_region(packer, question->files[PACK_REGION_FILE], &err)) {
        take_plans(packer, input.head);
        if (build(&run, packer, &input, &err))
            write_file(&run, &input, answer, &err);
    }
    run_deinit(&run);
    close_input(&input);
    snprintf(answer->message, sizeof(answer->message), "%.500s", err.message);
}
