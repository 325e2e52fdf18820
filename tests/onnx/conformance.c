/* Runs ONNX backend tests: conformance SET-FOLDER... > table.tsv
 *
 * Each SET-FOLDER holds TEST/model.onnx and TEST/test_data_set_K/{input,output}_J.pb, or (the set
 * "light") TEST.onnx and TEST_output_0.pb, whose input is the ramp i / n over n elements. One line
 * per test goes to stdout: set, test, verdict (pass, unsupported, wrong, error, crash), detail.
 * Every test runs in a process of its own, so that a crash is a verdict and not the end. Tests of
 * random operators compare types and shapes only, which the detail says.
 *
 * Tolerances are those of ONNX's own runner: 1e-7 + 1e-3 x |expected| for f32 and f64; one unit in
 * the last place or so for narrower floats; integers, strings and booleans must be equal. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"
#include "model/model.h"
#include "model/onnx_value.h"
#include "ops/op.h"
#include "spry/session.h"
#include "tensor/convert.h"
#include "tensor/value.h"

enum { MOST_PORTS = 64, PATH_SIZE = 1024 };

typedef enum verdict { PASS, UNSUPPORTED, WRONG, FAILED } verdict;

static const char *const verdict_names[] = {"pass", "unsupported", "wrong", "error"};

typedef struct outcome {
    verdict verdict;
    char detail[400];
} outcome;

static void conclude(outcome *o, verdict v, const char *detail)
{
    o->verdict = v;
    (void)snprintf(o->detail, sizeof o->detail, "%.399s", detail);
}

/* ---- comparison ---- */

static double relative_tolerance(spry_dtype dtype)
{
    switch (dtype) {
    case SPRY_DTYPE_F32:
    case SPRY_DTYPE_F64:
    case SPRY_DTYPE_C64:
    case SPRY_DTYPE_C128: return 1e-3;
    case SPRY_DTYPE_F16: return 2e-3;
    case SPRY_DTYPE_BF16: return 1e-2;
    default: return 0;
    }
}

static bool same_number(double got, double wanted, double relative)
{
    if (isnan(got) || isnan(wanted)) {
        return isnan(got) && isnan(wanted);
    }
    return got == wanted || fabs(got - wanted) <= 1e-7 + relative * fabs(wanted);
}

static bool same_strings(const tensor *got, const tensor *wanted)
{
    const spry_text *a = got->data;
    const spry_text *b = wanted->data;

    for (int64_t i = 0; i < tensor_count(wanted); i++) {
        if (a[i].size != b[i].size || memcmp(a[i].data, b[i].data, a[i].size) != 0) {
            return false;
        }
    }
    return true;
}

/* Compares numbers; complex ones as pairs of reals. */
static bool same_numbers(const tensor *got, const tensor *wanted, char *detail, size_t size)
{
    double relative = relative_tolerance(wanted->dtype);
    tensor a = *got;
    tensor b = *wanted;
    int64_t count = tensor_count(wanted);

    if (dtype_class_of(wanted->dtype) == DTYPE_CLASS_COMPLEX) {
        a.dtype = b.dtype = wanted->dtype == SPRY_DTYPE_C64 ? SPRY_DTYPE_F32 : SPRY_DTYPE_F64;
        count *= 2;
    }
    for (int64_t i = 0; i < count; i++) {
        double x;
        double y;

        convert_read_f64(&a, i, 1, &x);
        convert_read_f64(&b, i, 1, &y);
        if (!same_number(x, y, relative)) {
            (void)snprintf(detail, size, "element %lld is %.9g, expected %.9g", (long long)i, x, y);
            return false;
        }
    }
    return true;
}

static bool same_value(const value *got, const value *wanted, bool shapes_only, char *detail,
                       size_t size)
{
    char a[128];
    char b[128];

    if (got->kind != wanted->kind || got->count != wanted->count) {
        (void)snprintf(detail, size, "kind %d with %zu items, expected kind %d with %zu",
                       (int)got->kind, got->count, (int)wanted->kind, wanted->count);
        return false;
    }
    for (size_t i = 0; i < wanted->count; i++) {
        if (!same_value(got->items[i], wanted->items[i], shapes_only, detail, size)) {
            return false;
        }
    }
    if (wanted->kind != SPRY_VALUE_TENSOR) {
        return true;
    }
    if (got->tensor.dtype != wanted->tensor.dtype ||
        !tensor_same_shape(&got->tensor, &wanted->tensor)) {
        (void)snprintf(detail, size, "%s, expected %s", tensor_describe(&got->tensor, a, sizeof a),
                       tensor_describe(&wanted->tensor, b, sizeof b));
        return false;
    }
    if (shapes_only) {
        return true;
    }
    if (wanted->tensor.dtype == SPRY_DTYPE_STRING) {
        (void)snprintf(detail, size, "strings differ");
        return same_strings(&got->tensor, &wanted->tensor);
    }
    return same_numbers(&got->tensor, &wanted->tensor, detail, size);
}

/* ---- one test ---- */

static bool is_random(const spry_model *m)
{
    for (int32_t i = 0; i < m->main->node_count; i++) {
        const graph_node *node = &m->main->nodes[i];
        const op *o = op_find(node->domain, node->type, node->opset);

        /* Dropout is random only when it is told to train. */
        if (o != NULL && (o->flags & OP_RANDOM) != 0 &&
            (strcmp(node->type, "Dropout") != 0 || node->input_count > 2)) {
            return true;
        }
    }
    return false;
}

/* Old test data stores bf16 as u16: gives such a tensor the type that the model declares. */
static void restore_bf16(const graph_type *type, value *v)
{
    if (type->kind == GRAPH_TYPE_TENSOR && type->dtype == SPRY_DTYPE_BF16 &&
        v->kind == SPRY_VALUE_TENSOR && v->tensor.dtype == SPRY_DTYPE_U16) {
        v->tensor.dtype = SPRY_DTYPE_BF16;
        v->dtype = SPRY_DTYPE_BF16;
    }
}

/* Reads PREFIXKIND_INDEX.pb as a value of the given type; NULL when there is no such file. */
static spry_value *read_port(const char *prefix, const char *kind, int index,
                             const graph_type *type, outcome *o)
{
    char path[PATH_SIZE];
    spry_error error = {0};
    spry_value *v = NULL;
    file_map map;

    (void)snprintf(path, sizeof path, "%s%s_%d.pb", prefix, kind, index);
    if (!file_exists(path)) {
        return NULL;
    }
    if (file_map_open(path, UINT64_MAX, &map, &error) != SPRY_OK) {
        conclude(o, FAILED, error.what);
        return NULL;
    }
    if (spry_value_none(NULL, &v, &error) != SPRY_OK ||
        onnx_read_value(NULL, path, map.data, map.size, type, v, &error) != SPRY_OK) {
        conclude(o, FAILED, error.what);
    } else {
        restore_bf16(type, v);
    }
    file_map_close(&map);
    return v;
}

static void compare_outputs(const spry_model *m, const char *folder, spry_value **outputs,
                            outcome *o)
{
    bool shapes_only = is_random(m);

    for (int32_t i = 0; i < m->main->output_count && o->verdict == PASS; i++) {
        const graph_value *port = &m->main->values[m->main->outputs[i]];
        spry_value *wanted = read_port(folder, "output", i, &port->type, o);
        char detail[300] = "";
        char line[400];

        if (wanted == NULL) {
            continue;
        }
        if (!same_value(outputs[i], wanted, shapes_only, detail, sizeof detail)) {
            (void)snprintf(line, sizeof line, "output %s: %s", port->name, detail);
            conclude(o, WRONG, line);
        }
    }
    if (shapes_only && o->verdict == PASS) {
        conclude(o, PASS, "random: types and shapes compared");
    }
}

/* An f32 tensor of that type with element i = i / n. */
static spry_value *ramp(const graph_type *type)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    spry_tensor *t = NULL;
    spry_value *v = NULL;

    for (int i = 0; i < type->rank; i++) {
        shape[i] = type->dims[i].size;
    }
    if (spry_tensor_create(NULL, SPRY_DTYPE_F32, type->rank, shape, &t, NULL) != SPRY_OK ||
        spry_value_from_tensor(NULL, t, &v, NULL) != SPRY_OK) {
        return NULL;
    }
    for (int64_t i = 0; i < tensor_count(&v->tensor); i++) {
        ((float *)v->tensor.data)[i] = (float)i / (float)tensor_count(&v->tensor);
    }
    return v;
}

/* `folder` is a prefix of the names of the data files. */
static void run_data_set(const spry_model *m, spry_session *session, const char *folder,
                         bool is_light, outcome *o)
{
    const char *names[MOST_PORTS];
    const spry_value *inputs[MOST_PORTS];
    spry_value *outputs[MOST_PORTS] = {NULL};
    spry_error error = {0};
    int32_t count = 0;
    spry_status status;

    for (int32_t i = 0; i < m->main->input_count && count < MOST_PORTS; i++) {
        const graph_value *port = &m->main->values[m->main->inputs[i]];
        spry_value *v = read_port(folder, "input", i, &port->type, o);

        if (v == NULL && is_light && port->constant == NULL) {
            v = ramp(&port->type);
        }
        if (v != NULL) {
            names[count] = port->name;
            inputs[count++] = v;
        }
    }
    if (o->verdict != PASS) {
        return;
    }
    status =
        spry_session_run(session, count, names, inputs, m->main->output_count, outputs, &error);
    if (status != SPRY_OK) {
        char line[sizeof o->detail];

        (void)snprintf(line, sizeof line, "%.150s: %.200s", error.where, error.what);
        conclude(o, status == SPRY_UNSUPPORTED ? UNSUPPORTED : FAILED, line);
        return;
    }
    compare_outputs(m, folder, outputs, o);
}

/* A few old tests feed an input whose shape their own model contradicts. The declared shape is then
 * dropped: what is tested is the operator. */
static void drop_false_shapes(spry_model *m, const char *folder)
{
    for (int32_t i = 0; i < m->main->input_count; i++) {
        graph_type *type = &m->main->values[m->main->inputs[i]].type;
        outcome ignored;
        spry_value *v = read_port(folder, "input", i, type, &ignored);
        bool same = type->has_rank && v != NULL && v->kind == SPRY_VALUE_TENSOR &&
                    v->tensor.rank == type->rank;

        for (int d = 0; same && d < type->rank; d++) {
            same = type->dims[d].size < 0 || type->dims[d].size == v->tensor.shape[d];
        }
        type->has_rank = type->has_rank && same;
        spry_value_destroy(v);
    }
}

static void run_test(const char *folder, bool is_light, outcome *o)
{
    char path[PATH_SIZE];
    spry_session_options options = spry_session_options_default();
    spry_error error = {0};
    spry_model *m = NULL;
    spry_session *session = NULL;
    spry_status status;

    conclude(o, PASS, "");
    options.threads = 1;
    (void)snprintf(path, sizeof path, is_light ? "%.900s.onnx" : "%.900s/model.onnx", folder);
    status = spry_model_load(NULL, path, &m, &error);
    if (status == SPRY_OK && !is_light) {
        (void)snprintf(path, sizeof path, "%.900s/test_data_set_0/", folder);
        drop_false_shapes(m, path);
    }
    if (status == SPRY_OK) {
        status = spry_session_create(m, &options, &session, &error);
    }
    if (status != SPRY_OK) {
        char line[sizeof o->detail];

        (void)snprintf(line, sizeof line, "%.150s: %.200s", error.where, error.what);
        conclude(o, status == SPRY_UNSUPPORTED ? UNSUPPORTED : FAILED, line);
        return;
    }
    if (is_light) {
        (void)snprintf(path, sizeof path, "%.900s_", folder);
        run_data_set(m, session, path, true, o);
    }
    for (int k = 0; o->verdict == PASS && !is_light; k++) {
        (void)snprintf(path, sizeof path, "%.900s/test_data_set_%d/", folder, k);
        if (access(path, R_OK) != 0) {
            break;
        }
        run_data_set(m, session, path, false, o);
    }
    spry_session_destroy(session);
    spry_model_destroy(m);
}

/* Runs the test in a child process and prints its line. */
static void report_test(const char *set, const char *test, const char *folder, bool is_light)
{
    outcome o = {FAILED, "no outcome"};
    int ends[2];
    int state = 0;
    pid_t child;

    if (pipe(ends) != 0) {
        exit(EXIT_FAILURE);
    }
    child = fork();
    if (child == 0) {
        alarm(120);
        run_test(folder, is_light, &o);
        _exit(write(ends[1], &o, sizeof o) == (ssize_t)sizeof o ? 0 : 1);
    }
    (void)close(ends[1]);
    if (read(ends[0], &o, sizeof o) != (ssize_t)sizeof o) {
        (void)snprintf(o.detail, sizeof o.detail, "no outcome");
    }
    (void)close(ends[0]);
    (void)waitpid(child, &state, 0);
    for (char *c = o.detail; *c != '\0'; c++) {
        *c = *c == '\t' || *c == '\n' ? ' ' : *c;
    }
    if (!WIFEXITED(state) || WEXITSTATUS(state) != 0) {
        printf("%s\t%s\tcrash\tsignal %d\n", set, test, WIFSIGNALED(state) ? WTERMSIG(state) : 0);
    } else {
        printf("%s\t%s\t%s\t%s\n", set, test, verdict_names[o.verdict], o.detail);
    }
}

/* Runs what a set's folder holds under that name, if it is a test. */
static void run_entry(const char *set, const char *set_folder, const char *name)
{
    const char *suffix = strrchr(name, '.');
    char folder[PATH_SIZE];
    char path[PATH_SIZE];

    (void)snprintf(folder, sizeof folder, "%.400s/%.255s", set_folder, name);
    (void)snprintf(path, sizeof path, "%.800s/model.onnx", folder);
    if (name[0] == '.') {
        return;
    }
    if (suffix != NULL && strcmp(suffix, ".onnx") == 0) {
        folder[strlen(folder) - strlen(suffix)] = '\0';
        report_test(set, strrchr(folder, '/') + 1, folder, true);
    } else if (access(path, R_OK) == 0) {
        report_test(set, name, folder, false);
    }
}

static void run_set(const char *set_folder)
{
    const char *slash = strrchr(set_folder, '/');
    struct dirent **entries = NULL;
    int count = scandir(set_folder, &entries, NULL, alphasort);

    for (int i = 0; i < count; i++) {
        run_entry(slash != NULL ? slash + 1 : set_folder, set_folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        run_set(argv[i]);
    }
    return 0;
}
