/* Blocks (runtime/block): layers that run together, strip by strip. */
#include "base/alloc.h"
#include "base/checked.h"
#include "runtime/block/state.h"
#include "runtime/cache/packed.h"
#include "runtime/provider/providers.h"

static bool accepts(const provider_site *site)
{
    block_state s;

    return block_read(site, &s);
}

static void destroy(void *state)
{
    block_state *s = state;
    spry_allocator allocator = s->allocator;

    for (int i = 0; i < s->layer_count; i++) {
        if (s->layers[i].state != NULL) {
            s->layers[i].strips->of->destroy(s->layers[i].state);
        }
    }
    alloc_release(&allocator, s, sizeof *s);
}

/* Layers' states, packed weights and memory. */
static spry_status create_layers(const provider_site *site, block_state *s, provider_step *step,
                                 spry_error *error)
{
    int64_t own = 0;

    s->worker_bytes = (int64_t)strips_padded(block_worker_header());
    for (int i = 0; i < s->layer_count; i++) {
        block_layer *l = &s->layers[i];
        provider_site of = *site;
        strip_step made = {0};
        spry_status status;

        of.node = &l->view.node;
        status = l->strips->create(&of, l->rows, &made, error);
        if (status != SPRY_OK) {
            return status;
        }
        l->state = made.state;
        l->shared = s->shared_bytes;
        s->shared_bytes += (int64_t)made.shared_bytes;
        own = own > (int64_t)made.worker_bytes ? own : (int64_t)made.worker_bytes;
        step->packed_bytes += made.packed_bytes;
        step->kernel = step->kernel != NULL ? step->kernel : made.kernel;
        if (l->first_port + 1 < 32 && (made.spent & 2u) != 0) {
            step->spent |= 1U << (l->first_port + 1);
        }
        if (i + 1 < s->layer_count) {
            l->window = s->worker_bytes + BLOCK_GUARD;
            s->worker_bytes =
                l->window + (int64_t)strips_padded((size_t)(l->rows * l->out_row)) + BLOCK_GUARD;
        }
    }
    s->workspace = s->worker_bytes;
    s->worker_bytes += own;
    return SPRY_OK;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    block_state *s = alloc_zeroed(site->allocator, sizeof *s);
    size_t workspace = 0;
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)block_read(site, s); /* accepted before */
    s->allocator = *site->allocator;
    block_plan(site, s);
    status = create_layers(site, s, step, error);
    if (status == SPRY_OK &&
        (!checked_mul((size_t)s->worker_bytes, (size_t)s->workers, &workspace) || !block_fits(s))) {
        status = alloc_failed(error, SIZE_MAX);
    }
    if (status != SPRY_OK) {
        destroy(s);
        return status;
    }
    step->state = s;
    step->plan = "block";
    step->threads = (int)s->workers;
    step->traffic = &s->traffic;
    step->workspace_bytes = (size_t)s->shared_bytes + workspace;
    return SPRY_OK;
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    return block_run(state, call, workspace);
}

const provider provider_block = {"block", PROVIDER_FUSES_NOTHING, accepts, create, run, destroy};
