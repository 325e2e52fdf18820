#!/bin/bash
# spry dp: known epsilons and noises, and what is refused.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

expect 0 dp epsilon --rate 0.01 --noise 1.1 --steps 10000
contains out "epsilon  5.654308"
expect 0 dp epsilon --rate 0.004 --noise 1.1 --steps 15000 --delta 1e-5 --json
json out 'abs(d["epsilon"] - 2.506367) < 1e-6 and d["order"] == 8 and d["steps"] == 15000'
expect 0 dp noise --rate 0.125 --steps 50 --delta 1e-3 --epsilon 5 --json
json out 'abs(d["noise"] - 1.0057) < 1e-4 and 4.99 < d["epsilon"] <= 5'

# the last order that is tried gives the bound
expect 0 dp epsilon --rate 1 --noise 4 --steps 100 --delta 1e-3
contains out "11.771461"
contains err "order 2"

expect 0 dp epsilon --rate 0.01 --noise 0 --steps 1
contains out "no bound"
expect 0 dp epsilon --rate 0.01 --noise 0 --steps 1 --json
json out 'd["epsilon"] is None'

expect 2 dp
contains err "epsilon or noise"
expect 2 dp sigma --rate 0.01 --noise 1 --steps 1
expect 2 dp epsilon --noise 1 --steps 1
contains err "--rate 0.01"
expect 2 dp noise --rate 0.01 --steps 1
expect 2 dp noise --rate 0.01 --steps 1 --epsilon 0
