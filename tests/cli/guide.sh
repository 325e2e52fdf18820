#!/bin/bash
# The commands that README.md and docs/ show end as they say there.
set -euo pipefail
exec python3 "$SPRY_SOURCE_DIR/tools/transcripts.py" "$SPRY_BINARY"
