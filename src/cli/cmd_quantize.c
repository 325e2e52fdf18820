/* spry quantize: a smaller, faster model, and what it costs. */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/quantize/command.h"

static spry_status make(quantize_state *q, spry_error *error)
{
    progress_bar bar;
    int64_t begun;
    spry_status status = spry_model_load(NULL, q->call->arguments[0], &q->source, error);

    if (strcmp(q->options.method, "ptq-sl") == 0 && q->options.calibration == NULL) {
        output_warn(q->call,
                    "without --calibrate steps follow from ranges alone, not from outputs");
    }
    if (status == SPRY_OK) {
        status = quantize_search(q, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    begun = clock_ns();
    progress_bar_begin(&bar, q->call);
    q->options.progress = &bar.hook;
    status = spry_quantize(q->source, &q->options, &q->made, &q->facts, error);
    progress_bar_end(&bar);
    q->result.seconds = (double)(clock_ns() - begun) * 1e-9;
    return status;
}

/* Weights without a model: made and saved at once. */
static spry_status make_weights(quantize_state *q, spry_error *error)
{
    const char *output = cli_given(q->call, "dry-run") ? NULL : q->result.output;
    int64_t begun = clock_ns();
    progress_bar bar;
    spry_status status;

    if (quantize_is_mixed(q->call) || q->data != NULL || cli_given(q->call, "sensitivity")) {
        return spry_fail(error, SPRY_USAGE, "weights", "quantize the model that they belong to",
                         "bits are chosen, and accuracy is measured, on models");
    }
    progress_bar_begin(&bar, q->call);
    q->options.progress = &bar.hook;
    status = spry_quantize_weights(q->call->arguments[0], &q->options, output, &q->facts, error);
    progress_bar_end(&bar);
    q->result.seconds = (double)(clock_ns() - begun) * 1e-9;
    if (status == SPRY_OK && output != NULL) {
        quantize_compare_sizes(q);
    }
    return status;
}

static spry_status save(quantize_state *q, spry_error *error)
{
    spry_status status =
        cli_given(q->call, "compact") ? spry_model_compact(q->made, error) : SPRY_OK;

    if (status == SPRY_OK && !cli_given(q->call, "dry-run")) {
        status = spry_model_save(q->made, q->result.output, error);
        q->is_written = status == SPRY_OK;
    }
    return status;
}

static spry_status compare_sides(quantize_state *q, spry_error *error)
{
    return q->is_written ? quantize_compare_sides(q, error) : SPRY_OK;
}

static spry_status tell(quantize_state *q, spry_error *error)
{
    const char *path = cli_text(q->call, "report");
    const char *page = cli_text(q->call, "html");
    spry_status status = SPRY_OK;

    q->result.facts = q->facts;
    q->result.mixed = q->mixed;
    q->result.sensitivity = q->sensitivity;
    if (path != NULL) {
        status = quantize_report_file(q->call, &q->result, path, error);
    }
    if (status == SPRY_OK && page != NULL) {
        status = quantize_report_html(&q->result, page, error);
    }
    if (status == SPRY_OK) {
        status = cli_given(q->call, "json") ? quantize_report_json(q->call, &q->result, error)
                                            : quantize_report_text(q->call, &q->result, error);
    }
    return status == SPRY_OK ? quantize_judge(q) : status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    typedef spry_status (*step)(quantize_state *, spry_error *);
    static const step of_models[] = {quantize_read_options, make, save, compare_sides, tell};
    static const step of_weights[] = {quantize_read_options, make_weights, tell};
    bool is_bare = spry_quantize_is_weights(call->arguments[0]);
    const step *steps = is_bare ? of_weights : of_models;
    size_t count =
        is_bare ? sizeof of_weights / sizeof *of_weights : sizeof of_models / sizeof *of_models;
    quantize_state q = {.call = call};
    spry_status status;

    interrupt_begin();
    arena_init(&q.memory, NULL, SIZE_MAX);
    q.result = (quantize_result){.source = call->arguments[0],
                                 .output = cli_text(call, "output"),
                                 .options = &q.options,
                                 .before = {.top1 = -1.0},
                                 .after = {.top1 = -1.0}};
    status = quantize_check_usage(&q, error);
    for (size_t i = 0; status == SPRY_OK && i < count; i++) {
        status = interrupt_seen() ? spry_fail(error, SPRY_CANCELLED, NULL, NULL, "interrupted")
                                  : steps[i](&q, error);
    }
    if (interrupt_seen() && q.is_written) {
        (void)unlink(q.result.output); /* it was not judged */
    }
    spry_quantization_destroy(q.facts);
    spry_mixed_destroy(q.mixed);
    spry_sensitivity_destroy(q.sensitivity);
    spry_model_destroy(q.made);
    spry_model_destroy(q.source);
    spry_dataset_close(q.data);
    spry_dataset_close(q.options.calibration);
    spry_quantize_recipe_destroy(q.rules);
    arena_fini(&q.memory);
    interrupt_end();
    return status;
}

const cli_command cmd_quantize = {
    .name = "quantize",
    .summary = "make a model smaller and faster with small integers",
    .arguments = "MODEL",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry quantize resnet20.onnx -o small.onnx --weight-bits 4",
                 "spry quantize resnet20.onnx -o fast.onnx --activation-bits 8 --calibrate "
                 "cifar10:train.bin --preprocess imagenet"},
    .description =
        "Rounds the weights of Conv, ConvTranspose, Gemm and MatMul to integers with a step per "
        "output channel and writes standard ONNX in QDQ form. The method squant needs no data: it "
        "turns some roundings round so that errors cancel within kernels and output channels. With "
        "--activation-bits 8 activations become integers too, on ranges measured on samples "
        "(--calibrate) or, without any, on those that batch norms and noise suggest, and the model "
        "runs in integer arithmetic.\n\n"
        "In place of MODEL, bare weights (.npy, .npz, .safetensors) become codes and scales in a "
        ".npz or .safetensors.\n\n"
        "--mixed chooses bits per operator: f32, integers of 8 bits, or weights alone of "
        "--weight-bits (4 where it says nothing). With --max-drop the result is as fast and small "
        "as that loss of accuracy "
        "allows, "
        "with --max-ms as accurate as that latency allows. Layers are quantized alone to see what "
        "each costs, operators are timed on this machine, and whole models decide.\n\n"
        "Ends with the layers that suffer most, size, latency before and after on this machine, "
        "and accuracy where --data is given. Exits with 1 when an integer model is slower than the "
        "float one, or when accuracy falls by more than --max-drop.",
    .options = quantize_option_table,
    .run = run,
};
