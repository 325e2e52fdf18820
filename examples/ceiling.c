/* An allocator of your own: counts what Spry holds, and refuses to give more than a ceiling.
 * Running out is an ordinary failure (SPRY_LIMIT); nothing leaks and the process goes on. */
#include <spry/spry.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct budget {
    size_t ceiling;
    atomic_size_t held; /* callbacks may come from several threads */
    atomic_size_t most;
} budget;

static void *budget_allocate(void *context, size_t size, size_t alignment)
{
    budget *b = context;
    size_t held = atomic_fetch_add(&b->held, size) + size;
    /* aligned_alloc wants a multiple of the alignment, which is a power of two. */
    size_t rounded = (size + alignment - 1) & ~(alignment - 1);
    void *memory = held <= b->ceiling && rounded >= size ? aligned_alloc(alignment, rounded) : NULL;

    if (memory == NULL) {
        atomic_fetch_sub(&b->held, size);
    } else if (held > atomic_load(&b->most)) {
        atomic_store(&b->most, held); /* nearly exact is enough for a report */
    }
    return memory;
}

static void budget_release(void *context, void *memory, size_t size)
{
    budget *b = context;

    free(memory);
    atomic_fetch_sub(&b->held, size);
}

static spry_status run_within(budget *b, spry_error *error)
{
    const spry_allocator allocator = {budget_allocate, budget_release, b};
    spry_session_options options = spry_session_options_default();
    spry_model *model = NULL;
    spry_feed *feed = NULL;
    spry_session *session = NULL;
    spry_value *outputs[1] = {NULL};

    options.allocator = &allocator;
    options.threads = 1;
    spry_status status = spry_model_load(&allocator, "examples/glyphs/glyphs.onnx", &model, error);
    status = status != SPRY_OK ? status : spry_feed_create(&allocator, model, &feed, error);
    status = status != SPRY_OK ? status : spry_feed_fill_random(feed, 0, error);
    status = status != SPRY_OK ? status : spry_session_create(model, &options, &session, error);
    status = status != SPRY_OK ? status : spry_feed_run(feed, session, 1, outputs, error);
    spry_value_destroy(outputs[0]);
    spry_session_destroy(session);
    spry_feed_destroy(feed);
    spry_model_destroy(model);
    return status;
}

int main(void)
{
    static const size_t ceilings[] = {64 << 10, 512 << 10, 64 << 20};
    spry_status status = SPRY_OK;
    size_t leaked = 0;

    for (size_t i = 0; i < sizeof ceilings / sizeof ceilings[0]; i++) {
        budget b = {.ceiling = ceilings[i]};
        spry_error error = {0};
        status = run_within(&b, &error);
        printf("ceiling %8zu: %s, held %zu at most, %zu now\n", ceilings[i],
               status == SPRY_OK ? "done" : error.what, atomic_load(&b.most), atomic_load(&b.held));
        leaked += atomic_load(&b.held);
    }
    return leaked != 0 ? 1 : (int)status; /* the largest ceiling suffices */
}
