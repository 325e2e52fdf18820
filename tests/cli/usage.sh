#!/bin/bash
# Mistakes on the command line end with 2, name the word, and say what was probably meant.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

expect 2
empty out
contains err "Usage: spry COMMAND"
expect 0 --help
contains out "Usage: spry COMMAND"
empty err
expect 0 --version
contains out "spry "

expect 2 rnu
contains err "rnu: unknown command"
contains err "did you mean spry run?"
expect 2 frobnicate
contains err "spry help lists the commands"
expect 2 help rnu
contains err "did you mean spry run?"

expect 2 run --thraeds 1 model.onnx
contains err "--thraeds: unknown option"
contains err "did you mean --threads?"
expect 2 run --xyzzy model.onnx
contains err "see: spry run --help"
expect 2 run -qZ model.onnx
contains err "-Z: unknown option"
expect 2 run --threads
contains err "--threads: a value is missing"
expect 2 run -t
contains err "-t: a value is missing"
expect 2 run --force=yes model.onnx
contains err "takes no value"

for value in x 1.5 -1 1025 99999999999999999999 '' 1x; do
    expect 2 run "--threads=$value" "$models/sum.onnx"
    contains err "whole number from 0 to 1024"
done
expect 2 bench --seconds nan "$models/sum.onnx"
expect 2 run --precision f31 "$models/sum.onnx"
contains err "choose one of f32, bf16, int8"
expect 2 run
contains err "MODEL is missing"
expect 2 run a b
contains err "b: one argument too many"

# After --, everything is an argument, also what looks like an option.
expect 6 run -- --threads
contains err "--threads: cannot be opened"
# An error is one sentence, whatever bytes a name has: nothing reaches the terminal raw.
expect 6 run $'bad\e[31m\nname.onnx'
contains err 'bad?[31m?name.onnx'
