/* Constant folding with the operators' own kernels. */
#include <string.h>

#include "base/alloc.h"
#include "model/graph_walk.h"
#include "model/pass.h"
#include "model/weights.h"
#include "ops/op.h"
#include "tensor/convert.h"
#include "tensor/value.h"

/* Memory for kernels that run while folding: constant inputs may describe a huge result (Expand,
 * ConstantOfShape), so what a kernel may take is capped. */
typedef struct capped {
    spry_allocator inner;
    size_t left;
} capped;

static void *capped_allocate(void *context, size_t size, size_t alignment)
{
    capped *cap = context;
    void *memory;

    if (size > cap->left) {
        return NULL;
    }
    memory = cap->inner.allocate(cap->inner.context, size, alignment);
    cap->left -= memory != NULL ? size : 0;
    return memory;
}

static void capped_release(void *context, void *memory, size_t size)
{
    capped *cap = context;

    cap->left += size;
    cap->inner.release(cap->inner.context, memory, size);
}

enum {
    KERNEL_SLACK_BYTES = 1 << 20, /* what a kernel may need besides inputs and outputs */
    DEQUANTIZE_GROWTH = 16,       /* 2-bit integers become 32-bit floats */
};

typedef struct folder {
    graph *g;
    pass_context *c;
    spry_error *error;
    arena scratch; /* arrays of one node */
} folder;

/* ---- the result ---- */

/* A copy of `t` in the graph's arena; NULL when memory ran out. */
static const tensor *keep_tensor(graph *g, const tensor *t)
{
    tensor *kept = arena_bytes(g->memory, sizeof *kept);
    void *data = arena_bytes(g->memory, t->bytes);
    spry_text *texts = data;

    if (kept == NULL || data == NULL ||
        tensor_init(kept, t->dtype, t->rank, t->shape, data, NULL) != SPRY_OK) {
        return NULL;
    }
    if (t->bytes > 0) {
        memcpy(data, t->data, t->bytes);
    }
    for (int64_t i = 0; t->dtype == SPRY_DTYPE_STRING && i < tensor_count(t); i++) {
        texts[i].data = arena_text(g->memory, texts[i].data, texts[i].size);
        if (texts[i].data == NULL) {
            return NULL;
        }
    }
    return kept;
}

static void make_constant(graph *g, int32_t id, const tensor *t)
{
    graph_value *v = &g->values[id];

    v->constant = t;
    v->type = graph_type_tensor(t->dtype, t->rank, t->shape);
    v->content = NULL;
    v->content_count = 0;
}

/* ---- running a node ---- */

static bool takes_part(const graph_node *n, const pass_context *c)
{
    if (n->op == NULL || n->op->run == NULL || (n->op->flags & (OP_RANDOM | OP_SUBGRAPHS)) != 0) {
        return false;
    }
    return c->fold_dequantize || strcmp(n->type, "DequantizeLinear") != 0;
}

/* Bytes of the constant inputs; false when one is not constant. */
static bool constant_inputs(const graph *g, const graph_node *n, size_t *bytes)
{
    *bytes = 0;
    for (int32_t i = 0; i < n->input_count; i++) {
        const tensor *t = NULL;

        if (n->inputs[i] == GRAPH_NONE) {
            continue;
        }
        t = graph_constant(g, n->inputs[i]);
        if (t == NULL) {
            return false;
        }
        *bytes += t->bytes;
    }
    return true;
}

/* Does a known result type exceed the ceiling? */
static bool is_too_large(const graph *g, const graph_node *n, size_t ceiling)
{
    for (int32_t i = 0; i < n->output_count; i++) {
        const graph_type *type =
            n->outputs[i] != GRAPH_NONE ? &g->values[n->outputs[i]].type : NULL;
        size_t bytes;

        if (type != NULL && graph_type_is_static(type) && type->dtype != SPRY_DTYPE_NONE &&
            (!dtype_storage_bytes(type->dtype, op_work_count(type), &bytes) || bytes > ceiling)) {
            return true;
        }
    }
    return false;
}

typedef struct run_state {
    value *inputs;
    const value **input_pointers;
    value *outputs;
    value **output_pointers;
} run_state;

static bool prepare_run(folder *f, const graph_node *n, const spry_allocator *allocator,
                        run_state *run)
{
    size_t inputs = (size_t)n->input_count;
    size_t outputs = (size_t)n->output_count;

    run->inputs = arena_array(&f->scratch, inputs, sizeof *run->inputs);
    run->input_pointers = arena_array(&f->scratch, inputs, sizeof *run->input_pointers);
    run->outputs = arena_array(&f->scratch, outputs, sizeof *run->outputs);
    run->output_pointers = arena_array(&f->scratch, outputs, sizeof *run->output_pointers);
    if (run->inputs == NULL || run->input_pointers == NULL || run->outputs == NULL ||
        run->output_pointers == NULL) {
        return false;
    }
    for (size_t i = 0; i < inputs; i++) {
        if (n->inputs[i] != GRAPH_NONE) {
            const tensor *t = graph_constant(f->g, n->inputs[i]);

            if (model_weights_hold(f->g->source, t, NULL) != SPRY_OK) {
                return false;
            }
            run->inputs[i].kind = SPRY_VALUE_TENSOR;
            run->inputs[i].tensor = *t;
            run->inputs[i].dtype = run->inputs[i].tensor.dtype;
            run->input_pointers[i] = &run->inputs[i];
        }
    }
    for (size_t i = 0; i < outputs; i++) {
        value_init(&run->outputs[i], allocator);
        run->output_pointers[i] = n->outputs[i] != GRAPH_NONE ? &run->outputs[i] : NULL;
    }
    return true;
}

/* Turns the results into constants; false when one is no tensor or memory ran out. */
static bool keep_results(folder *f, const graph_node *n, const run_state *run)
{
    graph *g = f->g;

    for (int32_t i = 0; i < n->output_count; i++) {
        const tensor *kept;

        if (n->outputs[i] == GRAPH_NONE) {
            continue;
        }
        if (run->outputs[i].kind != SPRY_VALUE_TENSOR) {
            return false;
        }
        kept = keep_tensor(g, &run->outputs[i].tensor);
        if (kept == NULL) {
            return false;
        }
        make_constant(g, n->outputs[i], kept);
    }
    return true;
}

/* Runs the kernel. A failure is not one of the graph: the node may never be reached at run time. */
static bool run_node(folder *f, const graph_node *n, size_t ceiling)
{
    capped cap = {f->g->memory->allocator, ceiling + KERNEL_SLACK_BYTES};
    const spry_allocator allocator = {capped_allocate, capped_release, &cap};
    arena scratch;
    arena text;
    run_state run;
    op_call call = {.g = f->g,
                    .node = n,
                    .input_count = n->input_count,
                    .output_count = n->output_count,
                    .allocator = &allocator,
                    .scratch = &scratch,
                    .text = &text,
                    .team = f->c->team != NULL ? f->c->team : threads_single()};
    bool done = false;

    arena_reset(&f->scratch);
    if (!prepare_run(f, n, &allocator, &run)) {
        return false;
    }
    arena_init(&scratch, &allocator, SIZE_MAX);
    arena_init(&text, &allocator, SIZE_MAX);
    call.inputs = run.input_pointers;
    call.outputs = run.output_pointers;
    if (n->op->run(&call) == SPRY_OK) {
        done = keep_results(f, n, &run);
    }
    for (int32_t i = 0; i < n->output_count; i++) {
        value_fini(&run.outputs[i]);
    }
    arena_fini(&text);
    arena_fini(&scratch);
    return done;
}

/* ---- results that are known without running ---- */

/* A Constant's tensor is used where it lies. */
static bool fold_constant_node(graph *g, const graph_node *n)
{
    const graph_attribute *a = graph_attribute_find(n, "value");

    if (strcmp(n->type, "Constant") != 0 || n->domain[0] != '\0' || n->output_count != 1 ||
        n->outputs[0] == GRAPH_NONE || a == NULL || a->kind != GRAPH_ATTRIBUTE_TENSOR ||
        a->ref_name != NULL) {
        return false;
    }
    make_constant(g, n->outputs[0], &a->as.tensors[0]);
    return true;
}

/* Shape arithmetic whose every number inference has found. */
static bool fold_contents(graph *g, const graph_node *n)
{
    const graph_value *v;
    tensor *t;
    void *data;

    if (n->output_count != 1 || n->outputs[0] == GRAPH_NONE) {
        return false;
    }
    v = &g->values[n->outputs[0]];
    if (v->content == NULL || !graph_type_is_static(&v->type) || v->type.rank > 1 ||
        op_work_count(&v->type) != v->content_count) {
        return false;
    }
    for (int32_t i = 0; i < v->content_count; i++) {
        if (v->content[i].size < 0) {
            return false;
        }
    }
    t = arena_bytes(g->memory, sizeof *t);
    data = arena_zeroed(g->memory, (size_t)v->content_count * sizeof(int64_t));
    if (t == NULL || data == NULL ||
        tensor_init(t, v->type.dtype, v->type.rank, (const int64_t[]){v->content_count}, data,
                    NULL) != SPRY_OK) {
        return false;
    }
    for (int32_t i = 0; i < v->content_count; i++) {
        convert_write_i64(t, i, 1, &v->content[i].size);
    }
    make_constant(g, n->outputs[0], t);
    return true;
}

static bool fold_node(folder *f, const graph_node *n)
{
    size_t bytes;

    if (fold_constant_node(f->g, n) || (n->op != NULL && fold_contents(f->g, n))) {
        return true;
    }
    if (!takes_part(n, f->c) || !constant_inputs(f->g, n, &bytes)) {
        return false;
    }
    if (strcmp(n->type, "DequantizeLinear") == 0) {
        bytes *= DEQUANTIZE_GROWTH;
    }
    bytes = bytes > PASS_FOLD_BYTES ? bytes : PASS_FOLD_BYTES;
    return !is_too_large(f->g, n, bytes) && run_node(f, n, bytes);
}

spry_status pass_fold(graph *g, pass_context *c, spry_error *error)
{
    folder f = {.g = g, .c = c, .error = error};

    arena_init(&f.scratch, &g->memory->allocator, SIZE_MAX);
    for (int32_t i = 0; i < g->node_count; i++) {
        if (!g->nodes[i].removed && fold_node(&f, &g->nodes[i])) {
            graph_remove_node(g, i);
            c->changes++;
        }
    }
    arena_fini(&f.scratch);
    graph_compact(g);
    return SPRY_OK;
}
