#!/bin/bash
# spry quantize on the network of glyphs, as people use it.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
glyphs=$SPRY_SOURCE_DIR/examples/glyphs
model=$glyphs/glyphs.onnx
data=(--data "npz:$glyphs/test.npz" --preprocess unit --limit 360) # of 1,800, to be quick

# Weights alone: smaller at every width, hardly worse at 4 bits, and better than nearest at 3.
expect 0 quantize "$model" -o w4.onnx --weight-bits 4 --no-bench "${data[@]}" --limit 0 --json
json out 'd["schema"] == 1 and d["method"] == "squant" and d["weight_bits"] == 4' \
    'd["after"]["bytes"] * 2.5 < d["before"]["bytes"]' \
    'd["before"]["top1"] - d["after"]["top1"] < 0.02' \
    'all(l["sqnr_db"] > 10 and l["bits"] == 4 for l in d["layers"]) and not d["skipped"]' \
    'all(l["channel_error_after"] <= 0.5 for l in d["layers"] if l["kernel_flips"])'
expect 0 quantize "$model" -o s3.onnx -w 3 --no-bench "${data[@]}" --json
cp out s3.json
expect 0 quantize "$model" -o n3.onnx -w 3 -m nearest --no-bench "${data[@]}" --json
cp out n3.json
python3 -c 'import json,sys; s,n = (json.load(open(f))["after"]["top1"] for f in sys.argv[1:]); sys.exit(s < n)' \
    s3.json n3.json || fail "squant is worse than nearest at 3 bits"

# The same bytes for any number of threads.
expect 0 quantize "$model" -o one.onnx -w 4 --no-bench --threads 1
expect 0 quantize "$model" -o two.onnx -w 4 --no-bench --threads 2
cmp one.onnx two.onnx || fail "threads change the result"
expect 0 quantize "$model" -o seven.onnx -w 4 --no-bench --threads 7
cmp one.onnx seven.onnx || fail "threads change the result"
# And on every instruction set that is here.
for isa in generic avx2 avx512; do
    SPRY_ISA=$isa expect 0 quantize "$model" -o "$isa.onnx" -w 4 --no-bench
    cmp one.onnx "$isa.onnx" || fail "$isa changes the result"
done

# Preparations, bias correction, mean inputs and learnt roundings keep the accuracy.
samples=(--calibrate "npz:$glyphs/test.npz" --samples 32)
for extra in "--prepare equalise" "--prepare smooth" "--bias-correction" "--weighted" \
    "-m adaround --exclude residual.*"; do
    # shellcheck disable=SC2086
    expect 0 quantize "$model" -o more.onnx --force -w 3 $extra --no-bench "${samples[@]}" \
        "${data[@]}" --max-drop 5
done
expect 2 quantize "$model" -o no.onnx --prepare polish
contains err "equalise, repq, smooth"
expect 2 quantize "$model" -o no.onnx --bias-correction
contains err "--calibrate"

# Weights and activations: runs in integers, the accuracy stays.
expect 0 quantize "$model" -o w8a8.onnx -a 8 -c "npz:$glyphs/test.npz" --samples 64 --no-bench \
    "${data[@]}" --max-drop 1 --report report.json
contains out "activations of 8 bits"
contains out "worst layers"
contains out "ranges from: samples"
json report.json 'd["activations"] > 4 and d["after"]["top1"] > 0.97' \
    'd["ranges_from"]["samples"] > 4 and d["ranges_from"]["noise"] == 0'
for bits in 6 4; do # narrower codes are clamped to their bits before they become bytes
    expect 0 quantize "$model" -o narrow.onnx -w $bits -a $bits -c "npz:$glyphs/test.npz" \
        --samples 64 --no-bench "${data[@]}" --max-drop 10 --force
    contains out "activations of $bits bits"
done
expect 0 bench w8a8.onnx --runs 3 --json
json out 'any("s8" in o["kernel"] for o in d["ops"])'
expect 0 quantize "$model" -o timed.onnx -w 8 --json
json out 'd["speed_up"] > 0 and d["before"]["median_ms"] > 0'

# Without samples ranges follow from batch norms, and from noise where there are none (any more).
expect 0 quantize "$model" -o free.onnx -a 8 --no-bench "${data[@]}" --max-drop 1 \
    --report free.json
contains out "ranges from: batch-norm statistics ("
json free.json 'd["ranges_from"]["batch_norms"] > 4 and d["ranges_from"]["samples"] == 0'
expect 0 quantize "$model" -o again.onnx -a 8 --no-bench --preprocess unit --threads 1
cmp free.onnx again.onnx || fail "noise differs from run to run"
expect 0 quantize "$model" -o noise.onnx -a 8 --no-bench "${data[@]}" --max-drop 2 \
    --prepare equalise
contains out "ranges from: noise"

if [ -d "${SPRY_DATA:-}/cifar10" ]; then # trained on pixels, and on normalised pictures
    test=cifar10:$SPRY_DATA/cifar10/test_batch.bin
    expect 0 quantize "$SPRY_DATA/mlperf-tiny/resnet8_fp32.onnx" -o r8.onnx -a 8 --no-bench \
        --data "$test" --limit 1000 --preprocess raw --max-drop 1
    contains out "ranges from: noise"
    expect 0 quantize "$SPRY_DATA/cifar10-resnet/resnet20_bn.onnx" -o r20.onnx -a 8 --no-bench \
        --data "$test" --limit 1000 --preprocess imagenet --max-drop 1
    contains out "ranges from: batch-norm statistics (29), noise (1)"
fi

# Bits per operator, one by one or from a file; the later wins.
calibrate=(-c "npz:$glyphs/test.npz" --preprocess unit --samples 64)
expect 0 quantize "$model" -o bits.onnx -a 8 "${calibrate[@]}" --no-bench --json \
    --bits 'residual.*=4' --bits 'classify=0' --bits 'residual.second.conv=6/8'
json out '{l["node"]: l["bits"] for l in d["layers"]}["Conv '"'residual.second.conv'"'"] == 6' \
    'sorted(l["bits"] for l in d["layers"]) == [4, 6] + 6 * [8]' \
    '[s["reason"] for s in d["skipped"]] == ["assigned to f32"] and d["activations"] > 4'
printf '{"rules": [{"weight_bits": 3}, {"type": "Gemm", "excluded": true}]}' >recipe.json
expect 0 quantize "$model" -o recipe.onnx --recipe recipe.json --no-bench --json --bits 'stem*=8'
json out 'sorted(l["bits"] for l in d["layers"]) == 7 * [3] + [8] and len(d["skipped"]) == 1'
expect 2 quantize "$model" -o no.onnx --bits 4
contains err "NODE=4"
expect 2 quantize "$model" -o no.onnx --bits '*=1'
contains err "2 to 8"
expect 2 quantize "$model" -o no.onnx --bits 'nobody=4'
contains err "called so"
expect 2 quantize "$model" -o no.onnx --exclude nobody
printf '{"rules": [{"bits": 3}]}' >wrong.json
expect 3 quantize "$model" -o no.onnx --recipe wrong.json
contains err "bits"

# Nothing is written: all layers are told.
expect 0 quantize "$model" --dry-run -w 4 --keep-first-last
[ "$(grep -c "^Conv '" out)" -eq 7 ] || fail "not all layers"
lacks out "Gemm"
contains err "'classify' stays f32: excluded"
expect 0 quantize "$model" --dry-run -o nothing.onnx
[ ! -e nothing.onnx ] || fail "a dry run writes"

# Weights that are computed stay; those that operators share are quantized once.
expect 0 quantize "$models/computed.onnx" -o computed.onnx --no-bench
contains err "'computed' stays f32: its weights are computed"
expect 0 quantize "$models/shared.onnx" -o shared.onnx --no-bench --json
json out '[(l["weight"], l["weights"]) for l in d["layers"]] == [("w", 64), ("w", 64)]'
expect 0 compare shared.onnx "$models/shared.onnx" --tolerance 0.02
expect 0 quantize "$models/shared.onnx" -o shared2.onnx --no-bench --json --exclude second --bits first=4
json out '[l["bits"] for l in d["layers"]] == [4, 8]'
expect 0 run shared2.onnx

# Weights that are no numbers: tensor and place are named, unless the operator stays f32.
expect 3 quantize "$models/spoiled.onnx" -o no.onnx
contains err "v: element 21 is not a number"
expect 0 quantize "$models/spoiled.onnx" -o spoiled.onnx --exclude spoiled --no-bench

# A quantized model is refused, or made float first; either way it still works.
expect 3 quantize w8a8.onnx -o no.onnx -w 4
contains err "--requantize"
expect 0 quantize w8a8.onnx -o again4.onnx -w 4 --requantize --no-bench "${data[@]}" --json
json out 'd["after"]["top1"] > 0.97 and len(d["layers"]) == 9'
expect 0 quantize w8a8.onnx -o again8.onnx -a 8 -c "npz:$glyphs/test.npz" --samples 64 --requantize \
    --no-bench "${data[@]}" --json
json out 'd["after"]["top1"] > 0.97 and d["integer_macs"] == d["macs"]'

# Weights without a model: codes and scales; what is no file of weights says so.
printf "%s" "import struct, sys
w = struct.pack('<96f', *((i * 37 % 96 - 48) / 48 for i in range(96)))
h = \"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 24), }\".ljust(117) + chr(10)
sys.stdout.buffer.write(bytes([147]) + b'NUMPY' + bytes([1, 0]) + struct.pack('<H', len(h)) + h.encode() + w)
" | python3 - >bare.npy
expect 0 quantize bare.npy -o bare.npz -w 4 --json
json out '[(l["weight"], l["weights"], l["bits"]) for l in d["layers"]] == [("weight", 96, 4)]' \
    'd["after"]["bytes"] > 96 and d["before"]["bytes"] > 384'
expect 2 quantize bare.npz -o codes.npy
contains err "NAME.npz"
expect 4 quantize bare.npz -o again.npz
contains err "f32"
expect 2 quantize bare.npy -o no.npz -a 8
contains err "no activations"
head -c 300 bare.npy >short.npy
expect 3 quantize short.npy -o no.npz
[ ! -e no.npz ] || fail "a file was left behind"

# Samples that do not fit.
mkdir -p empty holes/class
printf 'no picture' >holes/class/broken.png
expect 3 quantize "$model" -o no.onnx -a 8 -c folder:empty
expect 3 quantize "$model" -o no.onnx -a 8 -c folder:holes
contains err "broken.png"
expect 6 quantize "$model" -o no.onnx -a 8 -c npz:nowhere.npz
contains err "nowhere.npz"
expect 2 quantize "$models/shared.onnx" -o no.onnx -a 8 -c "npz:$glyphs/test.npz"
contains err "1024 values but the model takes 8"
expect 2 quantize "$models/computed.onnx" -o no.onnx -a 8 -c "npz:$glyphs/test.npz"
contains err "feeds one input"

# No room: nothing is left behind. The limit is in KiB.
mkdir narrow
(ulimit -f 4 && "$spry" quantize "$model" -o narrow/no.onnx --no-bench 2>err) && fail "no room is no error"
contains err "free some disk space"
[ -z "$(ls -A narrow)" ] || fail "a part was left behind"

# Interrupted: nothing is left behind, and the exit code is the signal's.
"$spry" quantize "$model" -o narrow/no.onnx --mixed --max-drop 0.5 "${calibrate[@]}" \
    "${data[@]}" 2>err >out &
pid=$!
sleep 0.1
kill -TERM "$pid"
code=0
wait "$pid" || code=$?
[ "$code" -eq 143 ] || fail "interrupted: exit code $code"
[ -z "$(ls -A narrow)" ] || fail "an interrupted run leaves files behind"
# Formats: 4 bits are half a byte, groups cost little, integer operators do as well.
expect 0 quantize "$model" -o half.onnx -w 4 --group 16 --format matmulnbits --no-bench "${data[@]}" --json
json out 'd["after"]["bytes"] * 5 < d["before"]["bytes"]' \
    'd["before"]["top1"] - d["after"]["top1"] < 0.02'
expect 0 quantize "$model" -o gptq.onnx -w 3 -m gptq -c "npz:$glyphs/test.npz" --samples 64 --no-bench \
    "${data[@]}" --json
cp out g3.json
python3 -c 'import json,sys; g,n = (json.load(open(f))["after"]["top1"] for f in sys.argv[1:]); sys.exit(g < n)' \
    g3.json n3.json || fail "gptq is worse than nearest at 3 bits"
expect 0 quantize "$model" -o integers.onnx -a 8 --format qoperator -c "npz:$glyphs/test.npz" --samples 64 \
    --no-bench "${data[@]}" --max-drop 1
expect 0 bench integers.onnx --runs 3 --json
json out 'sum("s8" in o["kernel"] for o in d["ops"]) > 7'

# What does not work says why, and leaves nothing behind.
expect 2 quantize "$model"
contains err "--output"
expect 2 quantize "$model" -o w4.onnx
contains err "--force"
expect 2 quantize "$model" -o no.onnx --method best
contains err "squant, nearest, adaround"
expect 2 quantize "$model" -o no.onnx --weight-bits 9
expect 2 quantize "$model" -o no.onnx --max-drop 1
contains err "--data"
expect 2 quantize "$model" -o no.onnx --group 24
contains err "16, 32"
expect 2 quantize "$model" -o no.onnx --format qoperator
contains err "activation-bits"
expect 2 quantize "$model" -o no.onnx --format matmulnbits -a 8 -c "npz:$glyphs/test.npz"
contains err "f32 activations"
expect 2 quantize "$model" -o no.onnx -m hqq --symmetric
contains err "zero points"
expect 3 quantize w8a8.onnx -o no.onnx
contains err "quantized already"
expect 4 quantize "$models/sum.onnx" -o no.onnx
contains err "to quantize"
expect 6 quantize "$model" -o missing/no.onnx --no-bench
[ ! -e no.onnx ] || fail "a file was left behind"
expect 1 quantize "$model" -o bad.onnx -w 2 -m nearest --no-bench "${data[@]}" --max-drop 0.1
contains err "points"
expect 0 quantize "$model" -o part.onnx --exclude "classify" --no-bench --json
json out 'd["skipped"][0]["reason"] == "excluded"'
