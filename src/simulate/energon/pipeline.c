#include "simulate/energon/pipeline.h"

#include <math.h>
#include <string.h>

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The first edge of the clock at which it is there. */
static uint64_t whole(double cycles)
{
    return (uint64_t)ceil(cycles - 1e-6);
}

static uint64_t times(int64_t count, int64_t at_once)
{
    return (uint64_t)((count + at_once - 1) / at_once);
}

void energon_phases(const energon_machine *m, const energon_step *s, int64_t size,
                    uint64_t phases[3])
{
    uint64_t row = times(size, m->width);

    phases[0] = times(s->scored, m->lanes) * row;
    phases[1] = times(s->scored, m->softmax) + (uint64_t)m->softmax_latency;
    phases[2] = times(s->weighed, m->lanes) * row;
}

void energon_pipeline_begin(energon_pipeline *p, const energon_machine *m, uint64_t *begun,
                            energon_cost *cost)
{
    *p = (energon_pipeline){.m = m, .cost = cost, .begun = begun};
    memset(begun, 0, (size_t)m->fifo * sizeof *begun);
}

void energon_pipeline_load(energon_pipeline *p, double bytes, bool ahead)
{
    double cycles = bytes / p->m->memory_bytes;
    double idle = (double)p->cost->cycles - p->cost->memory;
    /* Everything that the memory did lies before the last query was ready. */
    double left = ahead && idle > 0.0 ? fmax(0.0, cycles - idle) : cycles;
    double begin = p->count == 0 ? 0.0 : fmax(p->ready, (double)p->chosen);

    p->cost->bytes += bytes;
    p->cost->memory += cycles;
    if (left > 0.0) {
        p->ready = begin + left + (double)p->m->memory_latency;
        p->chosen = most(p->chosen, whole(p->ready));
    }
    p->cost->cycles = most(p->cost->cycles, p->chosen);
}

/* Scores, softmax and sums one after the other, or each beside those of other queries. */
static void attend(energon_pipeline *p, const uint64_t phases[3], uint64_t can_begin)
{
    uint64_t at = p->m->is_pipelined ? can_begin : most(can_begin, p->stages[2]);

    for (int i = 0; i < 3; i++) {
        at = most(at, p->stages[i]) + phases[i];
        p->stages[i] = at;
    }
}

void energon_pipeline_query(energon_pipeline *p, const energon_step *s, int64_t size)
{
    const energon_machine *m = p->m;
    energon_cost *c = p->cost;
    uint64_t room = p->begun[p->count % m->fifo]; /* when the query `fifo` before was begun */
    uint64_t begin = most(p->chosen, room);
    uint64_t free = m->is_pipelined ? p->stages[0] : p->stages[2];
    uint64_t phases[3];
    uint64_t can_begin;
    uint64_t rows;

    c->waits_for_room += begin - p->chosen;
    p->chosen = begin + (uint64_t)s->choosing;
    if (s->bytes > 0) {
        double cycles = (double)s->bytes / m->memory_bytes;

        p->ready = fmax(p->ready, (double)p->chosen) + (double)m->memory_latency + cycles;
        c->memory += cycles;
        c->bytes += (double)s->bytes;
    }
    rows = s->bytes > 0 ? whole(p->ready) : 0;
    can_begin = most(p->chosen, rows);
    if (can_begin > free) {
        uint64_t waited_for_keys = p->chosen > free ? p->chosen - free : 0;

        c->waits_for_keys += waited_for_keys;
        c->waits_for_rows += can_begin - free - waited_for_keys;
    }
    p->begun[p->count % m->fifo] = most(can_begin, free);
    energon_phases(m, s, size, phases);
    attend(p, phases, can_begin);
    c->choosing += (uint64_t)s->choosing;
    for (int i = 0; i < 3; i++) {
        c->phases[i] += phases[i];
    }
    c->attending = m->is_pipelined ? most(c->phases[0], most(c->phases[1], c->phases[2]))
                                   : c->phases[0] + c->phases[1] + c->phases[2];
    c->products += (uint64_t)(s->scored + s->weighed) * (uint64_t)size;
    c->queries++;
    c->cycles = most(c->cycles, p->stages[2]);
    p->count++;
}
