/* Chooses what is held channels-last, and moves it.
 *
 * Every node that can move has two states; whatever is chosen, an edge is put where the two meet,
 * so a choice costs time at worst. Convolutions start moved and pull along what reads them. Then
 * nodes change sides as long as that saves bytes at edges, and regions whose convolutions gain less
 * than their edges cost are given up. */
#include "runtime/layout/layout.h"

#include <string.h>

#include "base/alloc.h"
#include "model/pass.h"
#include "ops/op.h"
#include "runtime/chain.h"
#include "runtime/layout/pass.h"

enum {
    MACS_PER_BYTE = 32, /* of a convolution that save as much time as a turned byte takes */
    MOST_SWEEPS = 4
};

static const op moved_op = {.name = "Moved",
                            .domain = LAYOUT_DOMAIN,
                            .min_inputs = 1,
                            .max_inputs = OP_VARIADIC,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .run = chain_refuse_to_run,
                            .cost = chain_cost};

/* ---- which nodes can move ---- */

static bool is_image_port(const layout_pass *p, const graph_node *n, const layout_rule *rule,
                          int32_t port)
{
    return n->inputs[port] != GRAPH_NONE && rule->is_image(p, n, port);
}

static bool is_image_result(const layout_pass *p, const graph_node *n, const layout_rule *rule,
                            int32_t output)
{
    return (rule->plain_results >> output & 1u) == 0 && layout_is_image(p->g, n->outputs[output]);
}

/* Every image is one; results are, or they are the same either way (ReduceMean without axes). */
static bool has_images(const layout_pass *p, const graph_node *n, const layout_rule *rule)
{
    int32_t count = 0;

    for (int32_t i = 0; i < n->input_count; i++) {
        if (is_image_port(p, n, rule, i)) {
            if (!layout_is_image(p->g, n->inputs[i])) {
                return false;
            }
            count++;
        }
    }
    for (int32_t i = 0; i < n->output_count; i++) {
        int32_t id = n->outputs[i];

        if (id == GRAPH_NONE ||
            (!is_image_result(p, n, rule, i) &&
             (rule->asked_as == NULL || !graph_type_is_static(&p->g->values[id].type)))) {
            return false;
        }
    }
    return count > 0 && n->output_count > 0;
}

/* The node as it would be in a region. `planar` leaves its first input as it is. */
static spry_status make_candidate(layout_pass *p, int32_t node, bool planar, graph_node *c)
{
    static const int64_t yes = 1;
    const graph_attribute marks[2] = {
        {.name = LAYOUT_ATTRIBUTE, .kind = GRAPH_ATTRIBUTE_INT, .count = 1, .as.ints = &yes},
        {.name = LAYOUT_PLANAR_INPUT, .kind = GRAPH_ATTRIBUTE_INT, .count = 1, .as.ints = &yes}};
    const layout_rule *rule = p->nodes[node].rule;
    size_t marked = rule->asked_as == NULL ? 0 : planar ? 2 : 1;
    arena *memory = p->g->memory;
    spry_status status = SPRY_OK;

    *c = p->g->nodes[node];
    c->inputs = arena_array(memory, (size_t)c->input_count + 1, sizeof *c->inputs);
    c->outputs = arena_array(memory, (size_t)c->output_count + 1, sizeof *c->outputs);
    c->attributes =
        arena_array(memory, (size_t)c->attribute_count + marked + 1, sizeof *c->attributes);
    if (c->inputs == NULL || c->outputs == NULL || c->attributes == NULL) {
        return alloc_failed(p->error, sizeof *c);
    }
    for (int32_t i = 0; status == SPRY_OK && i < c->input_count; i++) {
        c->inputs[i] = p->g->nodes[node].inputs[i];
        if ((i > 0 || !planar) && is_image_port(p, &p->g->nodes[node], rule, i)) {
            status = layout_twin(p, c->inputs[i], &c->inputs[i]);
        }
    }
    for (int32_t i = 0; status == SPRY_OK && i < c->output_count; i++) {
        c->outputs[i] = p->g->nodes[node].outputs[i];
        if (is_image_result(p, &p->g->nodes[node], rule, i)) {
            status = layout_twin(p, c->outputs[i], &c->outputs[i]);
        }
    }
    for (int32_t i = 0; i < c->attribute_count; i++) {
        c->attributes[i] = p->g->nodes[node].attributes[i];
    }
    for (size_t i = 0; i < marked; i++) {
        c->attributes[c->attribute_count++] = marks[i];
    }
    if (rule->asked_as != NULL) {
        c->type = rule->asked_as;
    }
    if (rule->asked_as != NULL && (c->domain[0] == '\0' || strcmp(c->domain, OP_OWN_DOMAIN) == 0)) {
        c->domain = LAYOUT_DOMAIN;
        c->op = &moved_op;
    }
    return status;
}

static spry_status ask(layout_pass *p, int32_t node, bool planar, bool *yes)
{
    graph_node c;
    provider_site site = {.g = p->g, .node = &c, .options = p->options};
    spry_status status = make_candidate(p, node, planar, &c);

    *yes = status == SPRY_OK && provider_find(&site) != NULL;
    return status;
}

/* Bytes of all images of the node. */
static double turning_cost(const layout_pass *p, int32_t node)
{
    const graph_node *n = &p->g->nodes[node];
    const layout_rule *rule = p->nodes[node].rule;
    double cost = 0.0;

    for (int32_t i = 0; i < n->input_count; i++) {
        cost += is_image_port(p, n, rule, i) ? layout_cost(&p->g->values[n->inputs[i]].type) : 0.0;
    }
    for (int32_t i = 0; i < n->output_count; i++) {
        cost +=
            is_image_result(p, n, rule, i) ? layout_cost(&p->g->values[n->outputs[i]].type) : 0.0;
    }
    return cost;
}

static spry_status look_at(layout_pass *p, int32_t node)
{
    const graph_node *n = &p->g->nodes[node];
    const layout_rule *rule = layout_find_rule(n);
    layout_node *found = &p->nodes[node];
    bool can = rule != NULL && !n->removed && has_images(p, n, rule) &&
               (rule->fits == NULL || rule->fits(p, n));
    spry_status status = SPRY_OK;

    found->rule = can ? rule : NULL;
    if (!can || rule->asked_as == NULL) {
        return SPRY_OK;
    }
    status = ask(p, node, false, &can);
    found->rule = can ? rule : NULL;
    if (status == SPRY_OK && can && rule->turns) {
        found->moved = true;
        found->gain = turning_cost(p, node);
    }
    if (status != SPRY_OK || !can || rule->weights == 0) {
        return status;
    }
    n = &p->g->nodes[node];
    found->moved = true;
    found->gain = (double)op_work_count(&p->g->values[n->outputs[0]].type) *
                  (double)op_work_count(&p->g->values[n->inputs[rule->weights]].type) /
                  (double)p->g->values[n->inputs[rule->weights]].type.dims[0].size / MACS_PER_BYTE;
    return ask(p, node, true, &found->takes_planar);
}

/* ---- what edges cost ---- */

/* Turns an image in the file itself; its own edge disappears with ours. `to_twin`: to NHWC. */
static bool is_turn(const graph_node *n, int rank, bool to_twin)
{
    int64_t count;
    const int64_t *perm =
        graph_node_is(n, "Transpose") ? graph_attribute_ints(n, "perm", &count) : NULL;

    if (perm == NULL || count != rank) {
        return false;
    }
    for (int i = 0; i < rank; i++) {
        int at = layout_axis(i, rank);

        if (to_twin ? perm[at] != i : perm[i] != at) {
            return false;
        }
    }
    return true;
}

/* Is the image there as a twin before any edge is added? */
static bool is_made_as_twin(const layout_pass *p, int32_t id)
{
    int32_t producer = p->g->values[id].producer;
    const graph_node *n = producer != GRAPH_NONE ? &p->g->nodes[producer] : NULL;

    if (n == NULL || !p->nodes[producer].moved) {
        return false;
    }
    for (int32_t i = 0; i < n->output_count; i++) {
        if (n->outputs[i] == id && (p->nodes[producer].rule->plain_results >> i & 1u) != 0) {
            return false;
        }
    }
    return true;
}

/* Is it free as a twin: made by a transpose that an edge would undo? */
static bool is_turned(const layout_pass *p, int32_t id)
{
    const graph_value *v = &p->g->values[id];

    return v->producer != GRAPH_NONE && is_turn(&p->g->nodes[v->producer], v->type.rank, false);
}

static bool reads_as_twin(const layout_pass *p, int32_t node, int32_t id)
{
    const graph_node *n = &p->g->nodes[node];
    const layout_node *l = &p->nodes[node];

    if (!l->moved) {
        return false;
    }
    for (int32_t i = 0; i < n->input_count; i++) {
        if (n->inputs[i] == id && is_image_port(p, n, l->rule, i)) {
            return true;
        }
    }
    return false;
}

/* True when the node reads the image as whatever it is. */
static bool reads_either(const layout_pass *p, int32_t node, int32_t id)
{
    const graph_node *n = &p->g->nodes[node];

    return is_turn(n, p->g->values[id].type.rank, true) ||
           (p->nodes[node].moved && p->nodes[node].takes_planar && n->inputs[0] == id &&
            !is_made_as_twin(p, id) && !is_turned(p, id));
}

static void count_readers(const layout_pass *p, int32_t id, int *as_twin, int *planar)
{
    *as_twin = 0;
    *planar = p->g->values[id].is_output;
    for (int32_t u = p->uses.offsets[id]; u < p->uses.offsets[id + 1]; u++) {
        int32_t node = p->uses.users[u];

        if (p->g->nodes[node].removed || reads_either(p, node, id)) {
            continue;
        }
        if (reads_as_twin(p, node, id)) {
            ++*as_twin;
        } else {
            ++*planar;
        }
    }
}

static double edge_cost(const layout_pass *p, int32_t id)
{
    const graph_value *v = &p->g->values[id];
    int as_twin;
    int planar;

    if (!layout_is_image(p->g, id) || is_turned(p, id)) {
        return 0.0;
    }
    count_readers(p, id, &as_twin, &planar);
    return (is_made_as_twin(p, id) ? planar : as_twin) > 0 ? layout_cost(&v->type) : 0.0;
}

/* Of all images that the node touches. */
static double node_cost(const layout_pass *p, int32_t node)
{
    const graph_node *n = &p->g->nodes[node];
    double cost = p->nodes[node].moved ? 0.0 : p->nodes[node].gain;

    for (int32_t i = 0; i < n->input_count; i++) {
        bool again = n->inputs[i] == GRAPH_NONE;

        for (int32_t k = 0; k < i; k++) {
            again = again || n->inputs[k] == n->inputs[i];
        }
        cost += again ? 0.0 : edge_cost(p, n->inputs[i]);
    }
    for (int32_t i = 0; i < n->output_count; i++) {
        cost += edge_cost(p, n->outputs[i]);
    }
    return cost;
}

/* ---- choosing ---- */

static bool reads_a_twin(const layout_pass *p, int32_t node)
{
    const graph_node *n = &p->g->nodes[node];

    for (int32_t i = 0; i < n->input_count; i++) {
        int32_t id = n->inputs[i];
        int32_t producer = id != GRAPH_NONE ? p->g->values[id].producer : GRAPH_NONE;

        if (producer != GRAPH_NONE && is_image_port(p, n, p->nodes[node].rule, i) &&
            (p->nodes[producer].moved || is_turned(p, id))) {
            return true;
        }
    }
    return false;
}

static void pull_along(layout_pass *p)
{
    for (int32_t i = 0; i < p->node_count; i++) {
        layout_node *l = &p->nodes[i];

        l->moved = l->rule != NULL && (l->moved || reads_a_twin(p, i));
    }
}

static void change_sides(layout_pass *p)
{
    bool changed = true;

    for (int sweep = 0; changed && sweep < MOST_SWEEPS; sweep++) {
        changed = false;
        for (int32_t i = p->node_count - 1; i >= 0; i--) {
            double before;

            if (p->nodes[i].rule == NULL) {
                continue;
            }
            before = node_cost(p, i);
            p->nodes[i].moved = !p->nodes[i].moved;
            if (node_cost(p, i) < before) {
                changed = true;
            } else {
                p->nodes[i].moved = !p->nodes[i].moved;
            }
        }
    }
}

/* ---- regions: moved nodes that share images ---- */

static int32_t region_of(int32_t *region, int32_t node)
{
    while (region[node] != node) {
        region[node] = region[region[node]];
        node = region[node];
    }
    return node;
}

/* The moved node that a value belongs to, or GRAPH_NONE: its producer or first reader. */
static int32_t owner_of(const layout_pass *p, int32_t id)
{
    if (is_made_as_twin(p, id)) {
        return p->g->values[id].producer;
    }
    for (int32_t u = p->uses.offsets[id]; u < p->uses.offsets[id + 1]; u++) {
        if (reads_as_twin(p, p->uses.users[u], id)) {
            return p->uses.users[u];
        }
    }
    return GRAPH_NONE;
}

static spry_status give_up_regions(layout_pass *p)
{
    size_t nodes = (size_t)p->node_count + 1;
    int32_t *region = arena_array(&p->memory, nodes, sizeof *region);
    double *gain = arena_array(&p->memory, nodes, sizeof *gain);

    if (region == NULL || gain == NULL) {
        return alloc_failed(p->error, nodes * sizeof *gain);
    }
    for (int32_t i = 0; i < p->node_count; i++) {
        region[i] = i;
    }
    for (int32_t id = 0; id < p->value_count; id++) {
        int32_t owner = layout_is_image(p->g, id) ? owner_of(p, id) : GRAPH_NONE;

        for (int32_t u = p->uses.offsets[id]; owner >= 0 && u < p->uses.offsets[id + 1]; u++) {
            if (reads_as_twin(p, p->uses.users[u], id)) {
                region[region_of(region, p->uses.users[u])] = region_of(region, owner);
            }
        }
    }
    for (int32_t i = 0; i < p->node_count; i++) {
        gain[region_of(region, i)] += p->nodes[i].moved ? p->nodes[i].gain : 0.0;
    }
    for (int32_t id = 0; id < p->value_count; id++) {
        int32_t owner = layout_is_image(p->g, id) ? owner_of(p, id) : GRAPH_NONE;

        if (owner != GRAPH_NONE) {
            gain[region_of(region, owner)] -= edge_cost(p, id);
        }
    }
    for (int32_t i = 0; i < p->node_count; i++) {
        p->nodes[i].moved = p->nodes[i].moved && gain[region_of(region, i)] > 0.0;
    }
    return SPRY_OK;
}

/* ---- moving ---- */

/* Nodes that can read a planar image do so where it is planar and nobody else wants its twin. */
static void choose_planar_inputs(layout_pass *p)
{
    for (int32_t i = 0; i < p->node_count; i++) {
        layout_node *l = &p->nodes[i];
        int as_twin = 1;
        int planar;

        if (l->moved && reads_either(p, i, p->g->nodes[i].inputs[0])) {
            count_readers(p, p->g->nodes[i].inputs[0], &as_twin, &planar);
        }
        l->reads_planar = as_twin == 0;
    }
}

static spry_status move(layout_pass *p, int32_t node)
{
    const layout_rule *rule = p->nodes[node].rule;
    graph_node c;
    spry_status status = make_candidate(p, node, p->nodes[node].reads_planar, &c);

    if (status != SPRY_OK) {
        return status;
    }
    for (int32_t i = 0; i < c.output_count; i++) {
        graph_value *before = &p->g->values[p->g->nodes[node].outputs[i]];

        before->producer = before->producer == node ? GRAPH_NONE : before->producer;
        p->g->values[c.outputs[i]].producer = node;
    }
    p->g->nodes[node] = c;
    return rule->renumber != NULL ? rule->renumber(p, node) : SPRY_OK;
}

/* Edges are chosen before anything moves: they ask what reads and makes each image. */
static spry_status add_edges(layout_pass *p)
{
    spry_status status = SPRY_OK;

    for (int32_t id = 0; status == SPRY_OK && id < p->value_count; id++) {
        int as_twin;
        int planar;

        if (!layout_is_image(p->g, id)) {
            continue;
        }
        count_readers(p, id, &as_twin, &planar);
        if (is_made_as_twin(p, id)) {
            for (int32_t u = p->uses.offsets[id]; u < p->uses.offsets[id + 1]; u++) {
                planar += is_turn(&p->g->nodes[p->uses.users[u]], p->g->values[id].type.rank, true);
            }
            status = planar > 0 ? layout_add_edge(p, id, false) : SPRY_OK;
        } else if (as_twin > 0) {
            status = layout_add_edge(p, id, true);
        }
    }
    return status;
}

static spry_status run(layout_pass *p)
{
    bool any = false;
    spry_status status = graph_find_uses(p->g, &p->memory, &p->uses, p->error);

    for (int32_t i = 0; status == SPRY_OK && i < p->node_count; i++) {
        status = look_at(p, i);
        any = any || p->nodes[i].moved;
    }
    if (status != SPRY_OK || !any) {
        return status;
    }
    pull_along(p);
    change_sides(p);
    status = give_up_regions(p);
    if (status == SPRY_OK) {
        choose_planar_inputs(p);
        status = add_edges(p);
    }
    for (int32_t i = 0; status == SPRY_OK && i < p->node_count; i++) {
        status = p->nodes[i].moved ? move(p, i) : SPRY_OK;
    }
    return status;
}

/* Twins take over the names of images that nobody makes any more. */
static void hand_names_over(layout_pass *p)
{
    for (int32_t id = 0; id < p->value_count; id++) {
        const graph_value *v = &p->g->values[id];

        if (p->twins[id] != GRAPH_NONE && v->producer == GRAPH_NONE && v->constant == NULL &&
            graph_can_be_output(p->g, id)) {
            graph_swap_names(p->g, id, p->twins[id]);
        }
    }
}

static spry_status allocate(layout_pass *p)
{
    p->nodes = arena_array(&p->memory, (size_t)p->node_count + 1, sizeof *p->nodes);
    p->twins = arena_array(&p->memory, (size_t)p->value_count + 1, sizeof *p->twins);
    if (p->nodes == NULL || p->twins == NULL) {
        return alloc_failed(p->error, (size_t)p->node_count * sizeof *p->nodes);
    }
    for (int32_t i = 0; i < p->value_count; i++) {
        p->twins[i] = GRAPH_NONE;
    }
    return SPRY_OK;
}

spry_status layout_graph(graph *g, const spry_session_options *options, spry_error *error)
{
    layout_pass p = {.g = g,
                     .options = options,
                     .error = error,
                     .value_count = g->value_count,
                     .node_count = g->node_count};
    pass_context context = {0};
    spry_status status;

    arena_init(&p.memory, &g->memory->allocator, SIZE_MAX);
    status = allocate(&p);
    if (status == SPRY_OK) {
        status = run(&p);
    }
    if (status == SPRY_OK) {
        hand_names_over(&p);
    }
    arena_fini(&p.memory);
    if (status == SPRY_OK) {
        status = graph_sort(g, error);
    }
    if (status == SPRY_OK) {
        status = pass_identity(g, &context, error);
    }
    return status == SPRY_OK ? pass_dead(g, &context, error) : status;
}
