/* Layouts of random graphs: what every good drawing must keep to. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "inspect/layout.h"
#include "inspect/layout_layers.h"
#include "support/sample.h"

typedef struct scene {
    arena memory;
    layout l;
} scene;

static void scene_init(scene *s, int32_t boxes, int32_t most_edges)
{
    *s = (scene){.l = {.box_count = boxes}};
    arena_init(&s->memory, NULL, SIZE_MAX);
    s->l.boxes = arena_array(&s->memory, (size_t)boxes + 1, sizeof *s->l.boxes);
    s->l.edges = arena_array(&s->memory, (size_t)most_edges + 1, sizeof *s->l.edges);
    assert_non_null(s->l.boxes);
    assert_non_null(s->l.edges);
    for (int32_t b = 0; b < boxes; b++) {
        s->l.boxes[b].width = 80 + b % 7 * 20;
        s->l.boxes[b].height = 30 + b % 3 * 16;
    }
}

static void add_edge(scene *s, int32_t from, int32_t to)
{
    for (int32_t e = 0; e < s->l.edge_count; e++) {
        if (s->l.edges[e].from == from && s->l.edges[e].to == to) {
            return;
        }
    }
    s->l.edges[s->l.edge_count++] = (layout_edge){.from = from, .to = to};
}

static void place(scene *s)
{
    spry_error error = {0};

    assert_int_equal(layout_place(&s->l, &s->memory, &error), SPRY_OK);
}

static void check_boxes(const layout *l)
{
    for (int32_t a = 0; a < l->box_count; a++) {
        const layout_box *x = &l->boxes[a];
        assert_true(x->x - x->width / 2 >= -0.01 && x->x + x->width / 2 <= l->width + 0.01);
        assert_true(x->y >= -0.01 && x->y + x->height <= l->height + 0.01);
        for (int32_t b = 0; b < a; b++) {
            const layout_box *y = &l->boxes[b];
            bool apart = fabs(x->x - y->x) >= (x->width + y->width) / 2 - 0.01 ||
                         x->y + x->height <= y->y || y->y + y->height <= x->y;
            assert_true(apart);
        }
    }
}

static void check_edges(const layout *l)
{
    for (int32_t e = 0; e < l->edge_count; e++) {
        const layout_edge *edge = &l->edges[e];
        const layout_box *from = &l->boxes[edge->from];
        const layout_box *to = &l->boxes[edge->to];
        const layout_point *last = &edge->points[edge->point_count - 1];
        assert_true(from->rank < to->rank);
        assert_int_equal(edge->point_count, 2 * (to->rank - from->rank));
        assert_true(fabs(edge->points[0].x - from->x) < 0.01);
        assert_true(fabs(last->x - to->x) <= to->width / 2);
        assert_true(fabs(last->y - to->y) < 0.01);
        for (int32_t i = 1; i < edge->point_count; i++) {
            assert_true(edge->points[i].y >= edge->points[i - 1].y);
        }
        for (int32_t i = 2; i < edge->point_count; i += 2) {
            assert_true(fabs(edge->points[i].x - edge->points[i - 1].x) < 0.01);
        }
    }
}

/* No edge runs through a box of a rank that it passes. */
static void check_passages(const layout *l)
{
    for (int32_t e = 0; e < l->edge_count; e++) {
        const layout_edge *edge = &l->edges[e];
        for (int32_t i = 1; i + 1 < edge->point_count; i += 2) {
            for (int32_t b = 0; b < l->box_count; b++) {
                const layout_box *box = &l->boxes[b];
                bool same_rows = box->y < edge->points[i + 1].y - 0.01 &&
                                 edge->points[i].y + 0.01 < box->y + box->height;
                assert_false(same_rows && fabs(edge->points[i].x - box->x) < box->width / 2);
            }
        }
    }
}

static void test_random_graphs(void **state)
{
    spry_random random = spry_random_stream(11, 0);
    (void)state;

    for (int round = 0; round < 60; round++) {
        scene s;
        int32_t boxes = (int32_t)sample_integer(&random, 0, 60);
        int32_t edges = boxes < 2 ? 0 : (int32_t)sample_integer(&random, 0, 3 * boxes);
        scene_init(&s, boxes, edges);
        for (int32_t e = 0; e < edges; e++) {
            int32_t to = (int32_t)sample_integer(&random, 1, boxes - 1);
            add_edge(&s, (int32_t)sample_integer(&random, 0, to - 1), to);
        }
        place(&s);
        check_boxes(&s.l);
        check_edges(&s.l);
        check_passages(&s.l);
        arena_fini(&s.memory);
    }
}

/* A chain with a skip over every fourth box, as residual networks have: it must not wander. */
static void test_residual_chain(void **state)
{
    enum { BOXES = 3000 };
    scene s;
    (void)state;

    scene_init(&s, BOXES, 2 * BOXES);
    for (int32_t b = 1; b < BOXES; b++) {
        s.l.edges[s.l.edge_count++] = (layout_edge){.from = b - 1, .to = b};
        if (b % 4 == 0) {
            s.l.edges[s.l.edge_count++] = (layout_edge){.from = b - 4, .to = b};
        }
    }
    place(&s);
    check_edges(&s.l);
    assert_true(s.l.width < 800);
    assert_int_equal(s.l.boxes[BOXES - 1].rank, BOXES - 1);
    arena_fini(&s.memory);
}

/* A tree can always be drawn without crossings. */
static void test_tree_has_no_crossings(void **state)
{
    enum { BOXES = 255 };
    scene s;
    (void)state;

    scene_init(&s, BOXES, BOXES);
    for (int32_t b = 1; b < BOXES; b++) {
        add_edge(&s, (b - 1) / 2, b);
    }
    place(&s);
    for (int32_t a = 0; a < s.l.edge_count; a++) {
        for (int32_t b = 0; b < a; b++) {
            const layout_edge *x = &s.l.edges[a];
            const layout_edge *y = &s.l.edges[b];
            if (s.l.boxes[x->from].rank != s.l.boxes[y->from].rank || x->from == y->from) {
                continue;
            }
            double above = s.l.boxes[x->from].x - s.l.boxes[y->from].x;
            double below = s.l.boxes[x->to].x - s.l.boxes[y->to].x;
            assert_true(above * below > 0);
        }
    }
    arena_fini(&s.memory);
}

static void test_refusals(void **state)
{
    spry_error error = {0};
    scene s;
    (void)state;

    scene_init(&s, 2, 1);
    s.l.edges[s.l.edge_count++] = (layout_edge){.from = 1, .to = 0};
    assert_int_equal(layout_place(&s.l, &s.memory, &error), SPRY_INTERNAL);
    arena_fini(&s.memory);

    scene_init(&s, LAYOUT_MOST_BOXES + 1, 0);
    assert_int_equal(layout_place(&s.l, &s.memory, &error), SPRY_LIMIT);
    arena_fini(&s.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_graphs),
        cmocka_unit_test(test_residual_chain),
        cmocka_unit_test(test_tree_has_no_crossings),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}
