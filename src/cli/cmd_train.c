/* spry train: fit a model to labelled data. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/train/command.h"

static const cli_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "where the trained model goes"},
    {.name = "force", .kind = CLI_FLAG, .help = "replace an existing FILE"},
    {0},
};

static spry_status check_usage(const cli_call *call, spry_error *error)
{
    const char *output = cli_text(call, "output");

    if (output == NULL) {
        return spry_fail(error, SPRY_USAGE, "--output", "for example -o trained.onnx",
                         "nowhere to put the trained model");
    }
    return output_check_free(call, output, error);
}

static spry_status train(const cli_call *call, spry_error *error)
{
    train_outcome outcome = {.model = call->arguments[0], .output = cli_text(call, "output")};
    spry_model *source = NULL;
    train_setup setup;
    spry_status status = check_usage(call, error);

    if (status != SPRY_OK) {
        return status;
    }
    status = train_setup_open(&setup, call, error);
    if (status == SPRY_OK) {
        status = spry_model_load(NULL, call->arguments[0], &source, error);
    }
    if (status == SPRY_OK) {
        status = train_perform(source, &setup, &outcome, error);
    }
    if (status == SPRY_OK) {
        status = spry_model_save(outcome.trained, outcome.output, error);
    }
    if (status == SPRY_OK) {
        status = train_tell(&outcome, error);
    }
    train_outcome_close(&outcome);
    spry_model_destroy(source);
    train_setup_close(&setup);
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    return train_run(call, train, error);
}

const cli_command cmd_train = {
    .name = "train",
    .summary = "fit a model to labelled data",
    .arguments = "MODEL",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry train fresh.onnx -o resnet20.onnx --data cifar10:train.bin --validate "
                 "cifar10:test_batch.bin --preprocess cifar --augment crop:4,flip --epochs 30 "
                 "--lr 0.1",
                 "spry train mnist.onnx -o trained.onnx --data idx:train-images-idx3-ubyte.gz "
                 "--preprocess unit --optimizer adamw --resume checkpoints"},
    .description =
        "Learns the weights of a classifier by gradient descent on the cross entropy of its first "
        "output, and writes the same model with new numbers. The same command gives the same bits "
        "on the same processor, with any number of threads.\n\n"
        "--checkpoints writes all that is needed to go on after every epoch; --resume does so, and "
        "gives what an uninterrupted run would have given. ^C ends training early: a checkpoint "
        "and "
        "the model as it is then are written.\n\n"
        "Weights are chosen by name: --only and --freeze say which are trained, --group gives some "
        "their own factors of rate and decay. Biases, norms and positions do not decay unless told "
        "to. Batch norms learn with the statistics of the batch and keep running ones, unless "
        "--freeze-norms.",
    .options = options,
    .shared = train_option_table,
    .shared_title = "Options of training",
    .run = run,
};
