/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { STACK_BYTES = 256 << 10 };

static void next_tick(struct timespec *next)
{
    struct timespec now;
    next->tv_nsec += CLOCK_TICK_NS;
    if (next->tv_nsec >= 1000000000) {
        next->tv_nsec -= 1000000000;
        next->tv_sec++;
    }
    /* After a stop (ctrl-Z) what was missed is not made up for. */
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec > next->tv_sec)
        *next = now;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL) == EINTR)
        continue;
}

static void *tick(void *argument)
{
    struct clock *clock = argument;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    while (!atomic_load(&clock->stops)) {
        bool is_asked = false;
        pthread_mutex_lock(&clock->lock);
        for (size_t i = 0; i < clock->nr_regions; i++) {
            region_clock_tick(clock->regions[i]);
            is_asked |= __atomic_load_n(&clock->regions[i]->header->asked, __ATOMIC_RELAXED) != 0;
        }
        pthread_mutex_unlock(&clock->lock);
        if (is_asked)
            eventfd_write(clock->asked_fd, 1);
        next_tick(&next);
    }
    return NULL;
}

bool clock_start(struct clock *clock, struct error *err)
{
    pthread_attr_t attributes;
    *clock = (struct clock){.asked_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    pthread_mutex_init(&clock->lock, NULL);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int number = pthread_create(&clock->thread, &attributes, tick, clock);
    pthread_attr_destroy(&attributes);
    clock->runs = number == 0;
    return clock->runs ||
           error_set(err, ERROR_TARGET, "no thread for the clock: %s; look at ulimit -u",
                     strerror(number));
}

void clock_stop(struct clock *clock)
{
    if (!clock->runs)
        return;
    atomic_store(&clock->stops, true);
    pthread_join(clock->thread, NULL);
    pthread_mutex_destroy(&clock->lock);
    if (clock->asked_fd >= 0)
        close(clock->asked_fd);
    clock->runs = false;
}

bool clock_add(struct clock *clock, struct region *region)
{
    pthread_mutex_lock(&clock->lock);
    bool ok = clock->nr_regions < CLOCK_MAX_REGIONS;
    if (ok)
        clock->regions[clock->nr_regions++] = region;
    pthread_mutex_unlock(&clock->lock);
    return ok;
}

void clock_remove(struct clock *clock, const struct region *region)
{
    pthread_mutex_lock(&clock->lock);
    for (size_t i = 0; i < clock->nr_regions; i++)
        if (clock->regions[i] == region)
            clock->regions[i] = clock->regions[--clock->nr_regions];
    pthread_mutex_unlock(&clock->lock);
}
