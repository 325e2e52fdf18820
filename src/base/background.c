/* Threads over POSIX threads, with the program's signals kept away from them. */
#define _GNU_SOURCE
#include "base/background.h"

#include <pthread.h>
#include <signal.h>

#include "base/alloc.h"

typedef struct background_thread {
    background *owner;
    int worker;
    pthread_t thread;
} background_thread;

struct background {
    spry_allocator allocator;
    background_body body;
    void *context;
    int room;
    int count;
    background_thread *threads; /* [room] */
};

static void *thread_main(void *argument)
{
    background_thread *t = argument;

    t->owner->body(t->owner->context, t->worker);
    return NULL;
}

spry_status background_start(const spry_allocator *allocator, int count, background_body body,
                             void *context, background **made, spry_error *error)
{
    spry_allocator source = alloc_resolve(allocator);
    background *b = alloc_zeroed(&source, sizeof *b);
    sigset_t all;
    sigset_t before;

    *made = NULL;
    if (b == NULL) {
        return alloc_failed(error, sizeof *b);
    }
    b->allocator = source;
    b->body = body;
    b->context = context;
    b->room = count;
    b->threads = alloc_array(&source, (size_t)count, sizeof *b->threads);
    if (b->threads == NULL) {
        alloc_release(&source, b, sizeof *b);
        return alloc_failed(error, (size_t)count * sizeof *b->threads);
    }
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (b->count < count) {
        background_thread *t = &b->threads[b->count];

        *t = (background_thread){.owner = b, .worker = b->count};
        if (pthread_create(&t->thread, NULL, thread_main, t) != 0) {
            break;
        }
        (void)pthread_setname_np(t->thread, "spry-background");
        b->count++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    *made = b;
    return SPRY_OK;
}

int background_count(const background *b)
{
    return b->count;
}

void background_join(background *b)
{
    spry_allocator source;

    if (b == NULL) {
        return;
    }
    for (int i = 0; i < b->count; i++) {
        (void)pthread_join(b->threads[i].thread, NULL);
    }
    source = b->allocator;
    alloc_release(&source, b->threads, (size_t)b->room * sizeof *b->threads);
    alloc_release(&source, b, sizeof *b);
}
