#!/bin/bash
# spry train: what it says and writes, that a killed run goes on as if nothing had happened, and what
# it refuses.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

# 600 noisy pictures of 8 x 8; the class is the quarter that is brighter.
python3 - <<'PY'
import random, struct, zipfile

def npy(kind, shape, body):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (kind, shape)
    head += " " * (63 - (10 + len(head)) % 64) + "\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head.encode() + body

random.seed(1)
labels = [random.randrange(4) for _ in range(600)]
pixels = bytearray()
for label in labels:
    for row in range(8):
        for column in range(8):
            bright = label == row // 4 * 2 + column // 4
            pixels.append(random.randrange(60, 220) if bright else random.randrange(160))
with zipfile.ZipFile("quarters.npz", "w") as z:
    z.writestr("images.npy", npy("|u1", "(600, 1, 8, 8)", bytes(pixels)))
    z.writestr("labels.npy", npy("<i8", "(600,)", struct.pack("<600q", *labels)))
PY
data=npz:quarters.npz
learn=(--data "$data" --preprocess unit --batch 10 --seed 4)

expect 0 new mlp -o fresh.onnx --image 8x8x1 --classes 4 --units 16 -q

# rows and totals as text, everything as JSON, a log for other programs
expect 0 train fresh.onnx -o a.onnx "${learn[@]}" --epochs 2 --log log.jsonl --validate "$data"
contains out "valid %"
contains out "wrote a.onnx"
[ "$(grep -c '"kind":"step"' log.jsonl)" -eq 120 ] || fail "not 120 steps in the log"
[ "$(grep -c '"kind":"epoch"' log.jsonl)" -eq 2 ] || fail "not 2 epochs in the log"
expect 0 train fresh.onnx -o b.onnx "${learn[@]}" --epochs 2 --threads 1 --json
json out 'd["steps"] == 120 and len(d["epochs"]) == 2 and d["epochs"][1]["loss"] < d["epochs"][0]["loss"] and d["trained_parameters"] == d["parameters"] and not d["stopped"]'
cmp a.onnx b.onnx || fail "one thread gives other bits"
expect 0 evaluate a.onnx --data "$data" --preprocess unit --at-least 0.9

# options from a file; the command line wins
cat >run.json <<'JSON'
{"epochs": 9, "lr": 0.01, "optimizer": "adamw", "freeze": ["fc1.*"], "quiet": true, "nesterov": false}
JSON
expect 0 train fresh.onnx -o c.onnx "${learn[@]}" --config run.json --epochs 1 --json
json out 'd["steps"] == 60 and d["trained_parameters"] < d["parameters"]'
echo '{"epoch": 3}' >wrong.json
expect 3 train fresh.onnx -o d.onnx "${learn[@]}" --config wrong.json
contains err "epoch"
echo '{"epochs": "many"}' >wrong.json
expect 3 train fresh.onnx -o d.onnx "${learn[@]}" --config wrong.json

# killed in the middle, resumed: the bits of a run that nobody disturbed
"$spry" train fresh.onnx -o e.onnx "${learn[@]}" --epochs 2 --checkpoint-steps 7 --resume run -q \
    >out 2>err </dev/null &
for _ in $(seq 200); do
    [ ! -e run/latest ] || break
    sleep 0.05
done
kill -9 $! 2>/dev/null || true
wait $! 2>/dev/null || true
[ -e run/latest ] || fail "no checkpoint was written"
expect 0 train fresh.onnx -o e.onnx "${learn[@]}" --epochs 2 --checkpoint-steps 7 --resume run -q --force
cmp a.onnx e.onnx || fail "a resumed run differs"
expect 2 train fresh.onnx -o e.onnx --data "$data" --preprocess unit --batch 20 --seed 4 --resume run --force
contains err "batch"

# a request to end ends well, with a model
timeout 60 "$spry" train fresh.onnx -o f.onnx "${learn[@]}" --epochs 100000 --log f.jsonl >out 2>err </dev/null &
running=$!
for _ in $(seq 200); do
    [ ! -s f.jsonl ] || break
    sleep 0.05
done
kill -TERM "$running" # shells start background jobs deaf to SIGINT
got=0
wait "$running" || got=$?
[ "$got" -eq 0 ] || fail "ended with $got after an interrupt"
contains err "stopped early"
[ -s f.onnx ] || fail "no model after an interrupt"

# privacy
expect 0 train fresh.onnx -o p.onnx "${learn[@]}" --steps 20 --dp-epsilon 4 --dp-delta 1e-4 --json
json out 'd["is_private"] and 3.9 < d["epsilon"] <= 4 and d["noise"] > 0.3'
expect 0 train fresh.onnx -o p.onnx "${learn[@]}" --steps 2 --dp-noise 1 --dp-seeded --force
contains out "on paper only"

# refusals leave nothing behind
expect 2 train fresh.onnx -o a.onnx "${learn[@]}"
contains err "--force"
expect 2 train fresh.onnx "${learn[@]}"
expect 2 train fresh.onnx -o g.onnx
expect 2 train fresh.onnx -o g.onnx "${learn[@]}" --freeze 'nothing*'
contains err "nothing*"
expect 2 train fresh.onnx -o g.onnx "${learn[@]}" --group 'fc1.*:rate=3'
expect 2 train fresh.onnx -o g.onnx "${learn[@]}" --milestones 0.5,x
expect 2 train fresh.onnx -o g.onnx "${learn[@]}" --augment flop:3
expect 2 train fresh.onnx -o g.onnx "${learn[@]}" --best
expect 3 train fresh.onnx -o g.onnx "${learn[@]}" --lr 1000000 --epochs 2
contains err "not finite"
expect 0 new mlp -o few.onnx --image 8x8x1 --classes 3 --units 16 -q
expect 2 train few.onnx -o g.onnx "${learn[@]}"
contains err "4 classes"
[ ! -e g.onnx ] || fail "a refused run left a file"
