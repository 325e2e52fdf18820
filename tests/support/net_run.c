#include "support/net_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/infer.h"
#include "runtime/execute.h"
#include "runtime/plan.h"

value net_floats(int rank, const int64_t *shape, float *data)
{
    value v;

    value_init(&v, NULL);
    assert_int_equal(tensor_init(&v.tensor, SPRY_DTYPE_F32, rank, shape, data, NULL), SPRY_OK);
    v.kind = SPRY_VALUE_TENSOR;
    v.dtype = SPRY_DTYPE_F32;
    return v;
}

void net_run(const net *n, bool with_providers, const char *executor_name, int count,
             const value *const *inputs, value *y)
{
    spry_session_options options = spry_session_options_default();
    value *outputs[] = {y};
    spry_error error = {0};
    threads *team = NULL;
    arena scratch;
    arena text;
    plan *p = NULL;
    executor e = {.scratch = &scratch, .text = &text, .error = &error};

    value_init(y, NULL);
    assert_int_equal(threads_create(NULL, 3, &team, NULL), SPRY_OK);
    e.team = team;
    arena_init(&scratch, NULL, SIZE_MAX);
    arena_init(&text, NULL, SIZE_MAX);
    if (infer_graph(n->g, &error) != SPRY_OK ||
        plan_create(n->g, &options, team, !with_providers, &p, &error) != SPRY_OK ||
        execute_plan(&e, p, NULL, inputs, count, outputs, 1) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    if (executor_name != NULL) {
        assert_non_null(p->steps[0].provider);
        assert_string_equal(p->steps[0].provider->name, executor_name);
    }
    plan_destroy(p);
    arena_fini(&text);
    arena_fini(&scratch);
    threads_destroy(team);
}
