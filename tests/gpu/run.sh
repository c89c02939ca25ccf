#!/usr/bin/env bash
# make gpu: builds, tests and measures on a machine with an NVIDIA GPU and no network, with what it has installed.
#
# Every step runs, also behind one that failed, each within a limit of its own in seconds: 8 minutes as a rule, 10 at
# most. Exits with 1 if any failed, and names them.
set -uo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
RESULTS=benchmarks/results
failed=()

step() { # step NAME SECONDS COMMAND...
  local name=$1 limit=$2 begin=$SECONDS
  shift 2
  echo "== $name"
  timeout --signal=INT --kill-after=10 "$limit" "$@" # INT: pytest says what it has seen until then
  local code=$?
  [ $code = 124 ] && echo "== $name: not done in $limit s"
  [ $code = 0 ] || failed+=("$name (exit $code)")
  echo "== $name: $((SECONDS - begin)) s, exit $code"
  return $code
}

sanitize() { # sanitize TOOL SECONDS CASES
  step "$1" "$2" compute-sanitizer --tool "$1" --error-exitcode 3 --target-processes all \
    "$PYTHON" -m pytest tests/gpu/test_ops.py -q -p no:cacheprovider -k "$3"
}

step build 150 "$PYTHON" -m pip install -q --no-build-isolation --no-deps -e . || exit 1
step doctor 20 "$PYTHON" -m penstock doctor
step tests/gpu 100 "$PYTHON" -m pytest tests/gpu -rs --tb=short -p no:cacheprovider
step streams 110 "$PYTHON" -m penstock bench e2e --device cuda --passes 1 --seconds 90 --json $RESULTS/end_to_end_cuda.json
step ops 80 "$PYTHON" -m penstock bench --device cuda --passes 1 --seconds 60 --json $RESULTS/ops_cuda.json
if command -v compute-sanitizer >/dev/null; then
  sanitize memcheck 40 "not production and not heads_of_128"
  sanitize racecheck 30 "attention and not production"
else
  echo "== compute-sanitizer: not found; memcheck and racecheck of the ops were skipped"
fi
step tests/kernels 90 "$PYTHON" -m pytest tests/kernels --tb=short -p no:cacheprovider

[ ${#failed[@]} = 0 ] && exit 0
printf 'failed: %s\n' "${failed[@]}"
exit 1
