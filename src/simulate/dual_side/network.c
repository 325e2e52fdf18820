#include "simulate/dual_side/network.h"

#include <math.h>

#include "base/alloc.h"

/* A group's operands as bitmaps. */
typedef struct pair {
    tile_code left, right;
} pair;

static spry_status code_conv(const simulate_layer *l, const simulate_operand *o, int64_t group,
                             pair *p, spry_error *error)
{
    int64_t filters = l->filters / l->groups;
    int64_t depth = l->channels / l->groups * l->kernel_height * l->kernel_width;
    spry_status status = tile_code_patches(&p->left, l, group, o->left, error);

    return status == SPRY_OK ? tile_code_matrix(&p->right, o->right + group * filters * depth,
                                                filters, depth, depth, 1, error)
                             : status;
}

static spry_status code_product(const simulate_layer *l, const simulate_operand *o, int64_t group,
                                pair *p, spry_error *error)
{
    int64_t rows = simulate_layer_pixels(l);
    int64_t depth = l->channels / l->groups;
    int64_t columns = l->filters / l->groups;
    const float *left = o->left + group * rows * depth;
    const float *right = o->right + group * depth * columns;
    spry_status status =
        tile_code_matrix(&p->left, left, rows, depth, l->left_is_flipped ? 1 : depth,
                         l->left_is_flipped ? rows : 1, error);

    return status == SPRY_OK
               ? tile_code_matrix(&p->right, right, columns, depth, l->right_is_flipped ? depth : 1,
                                  l->right_is_flipped ? 1 : columns, error)
               : status;
}

/* Where the model has the result of a lane. */
static int64_t place_of(const simulate_layer *l, int64_t group, int64_t pixel, int64_t filter)
{
    int64_t filters = l->filters / l->groups;

    if (l->is_conv) {
        int64_t plane = l->out_height * l->out_width;

        return (pixel / plane * l->filters + group * filters + filter) * plane + pixel % plane;
    }
    return (group * simulate_layer_pixels(l) + pixel) * filters + filter;
}

/* How far it is from what the model computes. */
static void check_result(const simulate_layer *l, const simulate_operand *o, int64_t group,
                         const float *result, double *largest, double *worst)
{
    int64_t filters = l->filters / l->groups;
    int64_t pixels = simulate_layer_pixels(l);

    for (int64_t i = 0; i < pixels * filters; i++) {
        int64_t f = i % filters;
        int64_t place = group * filters + f;
        double bias = o->bias != NULL && place < o->bias_count ? (double)o->bias[place] : 0.0;
        double own = (double)o->result[place_of(l, group, i / filters, f)];

        *worst = fmax(*worst, fabs(own - bias - (double)result[i]));
        *largest = fmax(*largest, fabs(own));
    }
}

/* A bias of another form, or a factor, is not looked into. */
static bool can_check(const simulate_layer *l, const simulate_operand *o)
{
    return !l->is_scaled && (o->bias == NULL || o->bias_count == l->filters);
}

static spry_status run_group(const dual_side_machine *m, const simulate_layer *l,
                             const simulate_operand *o, int64_t group, float *result, threads *team,
                             dual_side_load *load, dual_side_cost *cost, spry_error *error)
{
    pair p = {0};
    spry_status status;

    arena_init(&p.right.memory, NULL, SIZE_MAX);
    status = l->is_conv ? code_conv(l, o, group, &p, error) : code_product(l, o, group, &p, error);
    if (status == SPRY_OK) {
        status =
            dual_side_product(m, load, &p.left, &p.right, dual_side_should_swap(&p.left, &p.right),
                              result, team, cost, error);
    }
    tile_code_fini(&p.left);
    tile_code_fini(&p.right);
    return status;
}

spry_status dual_side_layer(const dual_side_machine *m, const simulate_layer *l,
                            const simulate_operand *operands, bool executes, threads *team,
                            dual_side_cost *cost, double *difference, spry_error *error)
{
    int64_t filters = l->filters / l->groups;
    dual_side_load load;
    arena memory;
    float *result = NULL;
    double largest = 0.0;
    double worst = 0.0;
    double densities[2] = {0.0, 0.0};
    spry_status status = dual_side_begin(m, &load, cost, error);

    arena_init(&memory, NULL, SIZE_MAX);
    if (status == SPRY_OK && executes) {
        result = arena_array(&memory, (size_t)(simulate_layer_pixels(l) * filters), sizeof *result);
        status = result != NULL ? SPRY_OK : alloc_failed(error, (size_t)filters * sizeof *result);
    }
    for (int64_t g = 0; g < l->groups && status == SPRY_OK; g++) {
        status = run_group(m, l, operands, g, result, team, &load, cost, error);
        densities[0] += cost->left_density;
        densities[1] += cost->right_density;
        if (status == SPRY_OK && executes && can_check(l, operands)) {
            check_result(l, operands, g, result, &largest, &worst);
        }
    }
    dual_side_end(m, &load, cost);
    cost->left_density = densities[0] / (double)l->groups;
    cost->right_density = densities[1] / (double)l->groups;
    if (executes) {
        *difference = !can_check(l, operands) ? NAN : largest > 0.0 ? worst / largest : 0.0;
    }
    arena_fini(&memory);
    return status;
}
