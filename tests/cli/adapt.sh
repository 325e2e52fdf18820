#!/bin/bash
# spry adapt: what is trained, deltas and merging from the command line, and what is refused.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

expect 0 new vit-cifar -o base.onnx --image 16 --patch 8 --units 16 --heads 2 --depth 2
sum=$(sha256sum base.onnx)

# Every method: a model that runs, and facts that add up.
for method in lora adapter bias prompt head full; do
    expect 0 adapt base.onnx -o "$method.onnx" --method "$method" --classes 4 --json
    json out "d['method'] == '$method' and 0 < d['trainable'] <= d['total']"
    json out 'len(d["tensors"]) >= 2 and d["operators"] and len(d["base"]) == 64'
    expect 0 run "$method.onnx" --json
    json out 'd["outputs"][0]["shape"] == [1, 4]'
    expect 0 inspect "$method.onnx" --json
    json out 'not d["unsupported"]'
done
[ "$(sha256sum base.onnx)" = "$sum" ] || fail "the base was changed"

# The same command makes the same file, another seed another one.
expect 0 adapt base.onnx -o one.onnx
expect 0 adapt base.onnx -o two.onnx
cmp one.onnx two.onnx || fail "the same seed gave another file"
expect 0 adapt base.onnx -o two.onnx --seed 1 --force
! cmp -s one.onnx two.onnx || fail "another seed gave the same file"

# Text, and names on demand.
expect 0 adapt base.onnx -o list.onnx -r 2 --target q --target mlp --list
contains out "trained"
contains out "lora_q_a"
contains out "lora_b"
lacks out "lora_v_a"

# Untrained, lora and adapters are the base exactly.
for method in lora adapter; do
    expect 0 adapt base.onnx -o same.onnx --method "$method" --force
    expect 0 compare same.onnx base.onnx --random 3 --tolerance 0
done

# A delta goes back into its base, and nowhere else.
expect 0 adapt base.onnx -o delta.safetensors --delta-only --method lora
expect 0 adapt base.onnx -o back.onnx --apply delta.safetensors
expect 0 compare back.onnx base.onnx --random 3 --tolerance 0
expect 0 adapt back.onnx -o again.safetensors --delta-only
cmp delta.safetensors again.safetensors || fail "the delta has changed on its way"
expect 0 adapt base.onnx -o merged.onnx --apply delta.safetensors --merge
expect 0 compare merged.onnx base.onnx --random 3 --tolerance 1e-6
expect 0 inspect merged.onnx --json
lacks out lora
expect 0 adapt merged.onnx -o once-more.onnx --method bias
expect 0 new vit-cifar -o other.onnx --image 16 --patch 8 --units 16 --heads 2 --depth 2 --seed 5
expect 7 adapt other.onnx -o no.onnx --apply delta.safetensors
contains err "hash"
expect 0 adapt prompt.onnx -o kept.onnx --merge
contains err "stays in the graph"

# Trained at once: the delta is all that has changed, and training goes on from the file.
glyphs=(--data "npz:$SPRY_SOURCE_DIR/examples/glyphs/test.npz" --preprocess unit --batch 16 --steps 3)
expect 0 new vit-cifar -o eyes.onnx --image 28x28x1 --patch 7 --units 16 --heads 2 --depth 1 --classes 62
for method in lora prompt; do
    expect 0 adapt eyes.onnx -o trained.onnx --method "$method" "${glyphs[@]}" --force
    contains out "parameters trained"
    contains out "method      $method"
    expect 0 adapt trained.onnx -o trained.safetensors --delta-only --force
    expect 0 adapt eyes.onnx -o applied.onnx --apply trained.safetensors --force
    expect 0 compare applied.onnx trained.onnx --random 2 --tolerance 0
    expect 1 compare applied.onnx eyes.onnx --random 2 --tolerance 1e-6
    expect 0 adapt trained.onnx -o more.onnx "${glyphs[@]}" --force --json
    json out 'd["command"] == "adapt" and d["trained_parameters"] < d["parameters"]'
    expect 0 adapt eyes.onnx -o more.safetensors --delta-only --method "$method" "${glyphs[@]}" --force
    cmp more.safetensors trained.safetensors || fail "a delta at once is another than one later"
done
expect 2 adapt eyes.onnx -o no.onnx "${glyphs[@]}" --only 'head*'
contains err "--only"
expect 2 adapt eyes.onnx -o no.onnx --data nothing:here

# What is refused leaves nothing behind.
expect 2 adapt base.onnx
contains err "--output"
expect 2 adapt base.onnx -o one.onnx
contains err "--force"
expect 2 adapt base.onnx -o no.onnx --method sorcery
expect 2 adapt base.onnx -o no.onnx --target nothing.like.this
contains err "linear"
expect 2 adapt base.onnx -o no.onnx --delta-only
expect 2 adapt base.onnx -o no.safetensors
expect 2 adapt base.onnx -o no.safetensors --delta-only --merge
expect 2 adapt base.onnx -o no.onnx --apply delta.safetensors --rank 4
contains err "--rank"
expect 3 adapt lora.onnx -o no.onnx
contains err "adapted already"
expect 0 new small-cnn -o cnn.onnx
expect 4 adapt cnn.onnx -o no.onnx
contains err "--target conv"
expect 0 adapt cnn.onnx -o conv.onnx --target conv -r 2
expect 0 compare conv.onnx cnn.onnx --random 2 --tolerance 1e-5 # batch norms are not folded
: >empty.safetensors
expect 3 adapt base.onnx -o no.onnx --apply empty.safetensors
[ ! -e no.onnx ] && [ ! -e no.safetensors ] || fail "something was written"
