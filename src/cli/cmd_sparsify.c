/* spry sparsify: zeros in the weights of a model, with or without training. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/sparsify/command.h"

static bool is_training(const cli_call *call)
{
    return cli_given(call, "data");
}

static spry_status check_usage(const cli_call *call, spry_error *error)
{
    const char *output = cli_text(call, "output");

    if (output == NULL) {
        return spry_fail(error, SPRY_USAGE, "--output", "for example -o pruned.onnx",
                         "nowhere to put the pruned model");
    }
    return output_check_free(call, output, error);
}

/* Pruned models learn on at a low rate: what is there already is to be kept. */
static void choose_rate(sparsify_state *s)
{
    static const double rate = 1e-4;
    spry_train_options *o = &s->setup.options;

    if (!cli_given(s->call, "optimizer")) {
        o->optimizer = SPRY_OPTIMIZER_ADAM;
        o->decay = cli_given(s->call, "weight-decay") ? o->decay : 0.0;
        o->rate = cli_given(s->call, "lr") ? o->rate : rate;
    }
}

static spry_status train(sparsify_state *s, spry_error *error)
{
    spry_sparsify_goal goal;
    spry_status status = sparsify_read_goal(s, &goal, error);

    if (status == SPRY_OK) {
        status = spry_sparsify_objective(s->source, &s->options, &goal, &s->objective, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    choose_rate(s);
    s->setup.options.objective = s->objective;
    s->setup.options.freeze_statistics = true;
    s->outcome =
        (train_outcome){.model = s->call->arguments[0], .output = cli_text(s->call, "output")};
    return train_perform(s->source, &s->setup, &s->outcome, error);
}

/* What --target-speedup asks for becomes shares of layers. */
static spry_status search(sparsify_state *s, spry_error *error)
{
    spry_sparsify_aim aim = spry_sparsify_aim_default();
    progress_bar bar;
    spry_status status;

    aim.speed_up = cli_number(s->call, "target-speedup");
    if (aim.speed_up == 0.0) {
        return SPRY_OK;
    }
    aim.data = is_training(s->call) ? s->setup.options.data : s->validation;
    aim.recipe = &s->setup.recipe;
    aim.threads = (int)cli_integer(s->call, "threads");
    if (!cli_given(s->call, "ratio")) {
        s->options.ratio = 0.0;
    }
    if (aim.data == NULL) {
        output_note(s->call, "what zeros cost is measured on noise: give --data or --validate");
    }
    progress_bar_begin(&bar, s->call);
    aim.progress = &bar.hook;
    status = spry_sparsify_search(s->source, &s->options, &aim, &s->plan, error);
    progress_bar_end(&bar);
    if (status == SPRY_NEGATIVE) { /* a result, not an error */
        output_warn(s->call, "%s", error->what);
    }
    if (status == SPRY_OK) {
        s->options.share_count = spry_sparsify_plan_shares(s->plan, &s->options.shares);
        output_note(s->call, "foretold to be %.2f times as fast",
                    spry_sparsify_plan_speed_up(s->plan));
    }
    return status;
}

static spry_status make(sparsify_state *s, spry_error *error)
{
    return is_training(s->call) ? train(s, error)
                                : spry_sparsify(s->source, &s->options, &s->pruned, error);
}

static spry_status save(sparsify_state *s, spry_error *error)
{
    const spry_model *made = s->pruned != NULL ? s->pruned : s->outcome.trained;

    return spry_model_save(made, cli_text(s->call, "output"), error);
}

static spry_status perform(const cli_call *call, spry_error *error)
{
    static spry_status (*const steps[])(sparsify_state *, spry_error *) = {
        sparsify_read_options, search, make, save, sparsify_compare, sparsify_tell};
    sparsify_state s = {.call = call};
    spry_status status = check_usage(call, error);

    if (status == SPRY_OK && is_training(call)) {
        status = train_setup_open(&s.setup, call, error);
    }
    if (status == SPRY_OK) {
        status = spry_model_load(NULL, call->arguments[0], &s.source, error);
    }
    for (size_t i = 0; status == SPRY_OK && i < sizeof steps / sizeof steps[0]; i++) {
        status = steps[i](&s, error);
    }
    train_outcome_close(&s.outcome);
    spry_train_objective_destroy(s.objective);
    spry_sparsity_destroy(s.zeros);
    spry_sparsify_plan_destroy(s.plan);
    spry_dataset_close(s.validation);
    spry_model_destroy(s.pruned);
    spry_model_destroy(s.teacher);
    spry_model_destroy(s.source);
    if (s.setup.call != NULL) {
        train_setup_close(&s.setup);
    }
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    return train_run(call, perform, error);
}

const cli_command cmd_sparsify = {
    .name = "sparsify",
    .summary = "make a model faster and smaller by zeros in its weights",
    .arguments = "MODEL",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry sparsify resnet20.onnx -o pruned.onnx --ratio 0.5",
                 "spry sparsify resnet20.onnx -o pruned.onnx --ratio 0.7 --data cifar10:train.bin "
                 "--preprocess imagenet --augment crop:4,flip --epochs 60 --distill-only"},
    .description =
        "Makes weights of Conv, Gemm and MatMul zero and writes the same model, standard ONNX, "
        "with "
        "those zeros. The runtime finds and skips them where that is faster than its best dense "
        "kernels. --method says what becomes zero together: lanes, for each 16 outputs as many of "
        "each 16 inputs, is what convolutions skip well and costs little more accuracy than single "
        "numbers (magnitude) do.\n\n"
        "With --data the model learns meanwhile: zeros grow from none to --ratio over the first "
        "half of training (--grow), what is left makes up for them, and the scores of the dense "
        "model, or of --teacher, are learnt beside the labels. Where no optimizer is named it is "
        "adam at a rate of 0.0001, without decay. Batch norms keep their statistics.\n\n"
        "Ends with zeros by layer, sizes, latencies of both models on this machine and, with "
        "--validate, accuracies. --target-speedup chooses how many zeros each layer gets by what "
        "they cost and save, both measured here; a result that is not as fast is written, and "
        "exit status is 1.",
    .options = sparsify_option_table,
    .shared = train_option_table,
    .shared_title = "Options of training",
    .run = run,
};
