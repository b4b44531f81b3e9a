/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { MAX_WORKERS = 16 };

struct job {
    atomic_size_t next; /* relaxed: items are independent, join orders the results */
    size_t nr_items;
    void (*run)(void *context, unsigned worker, size_t item);
    void *context;
};

struct worker {
    struct job *job;
    unsigned index;
    pthread_t thread;
    bool started;
};

unsigned parallel_workers(size_t nr_items)
{
    cpu_set_t set;
    unsigned cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
    if (cpus > MAX_WORKERS)
        cpus = MAX_WORKERS;
    if (cpus > nr_items)
        cpus = (unsigned)nr_items;
    return cpus ? cpus : 1;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct job *job = worker->job;
    for (;;) {
        size_t item = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (item >= job->nr_items)
            return NULL;
        job->run(job->context, worker->index, item);
    }
}

void parallel_for(size_t nr_items, void (*run)(void *context, unsigned worker, size_t item),
                  void *context)
{
    struct job job = {.nr_items = nr_items, .run = run, .context = context};
    struct worker workers[MAX_WORKERS];
    unsigned nr_workers = parallel_workers(nr_items);
    for (unsigned i = 0; i < nr_workers; i++) {
        workers[i] = (struct worker){.job = &job, .index = i};
        if (i > 0)
            workers[i].started = pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0;
    }
    work(&workers[0]);
    for (unsigned i = 1; i < nr_workers; i++)
        if (workers[i].started)
            pthread_join(workers[i].thread, NULL);
}
