#!/usr/bin/env bash
# make gpu: builds, tests and measures on a machine with an NVIDIA GPU and no network, with what it has installed.
#
# Every step runs, also behind one that failed, each within a limit of its own in seconds, what tells most first. All
# together end within 10 minutes, 8 as a rule: what comes last may be cut short. Exits with 1 if any step failed, and
# names them. The figures are in benchmarks/results; in a copy without git, PENSTOCK_COMMIT is the commit they name.
set -uo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
PATH=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("scripts"))'):$PATH:/usr/local/cuda/bin # cmake, ninja; nvcc
export PIP_DISABLE_PIP_VERSION_CHECK=1
RESULTS=benchmarks/results
HOPPER=rolling_attention=cuda,causal_conv3d=cuda
END=590
failed=()

step() { # step NAME SECONDS COMMAND...
  local name=$1 limit=$2 begin=$SECONDS
  shift 2
  [ $limit -gt $((END - begin)) ] && limit=$((END - begin))
  if [ $limit -lt 1 ]; then
    echo "== $name: no time left"
    failed+=("$name (no time left)")
    return 124
  fi
  echo "== $name"
  timeout --signal=INT --kill-after=10 "$limit" "$@" # INT: pytest and penstock bench keep what they have until then
  local code=$?
  [ $code = 124 ] && echo "== $name: not done in $limit s"
  [ $code = 0 ] || failed+=("$name (exit $code)")
  echo "== $name: $((SECONDS - begin)) s, exit $code"
  return $code
}

check() { # check NAME SECONDS PYTEST_ARGUMENTS...
  step "$1" "$2" "$PYTHON" -m pytest -rs --tb=short -p no:cacheprovider "${@:3}"
}

measure() { # measure NAME SECONDS BENCH_ARGUMENTS...: a third of the seconds is for ending what has begun
  step "$1" "$2" "$PYTHON" -m penstock bench "${@:3}" --device cuda --passes 1 --seconds $(($2 * 2 / 3))
}

sanitize() { # sanitize TOOL SECONDS CASES
  step "$1" "$2" compute-sanitizer --tool "$1" --error-exitcode 3 --target-processes all \
    "$PYTHON" -m pytest tests/gpu/test_ops.py -q -p no:cacheprovider -k "$3"
}

step build 240 "$PYTHON" -m pip install -q --no-build-isolation --no-deps -e . || exit 1
step doctor 20 "$PYTHON" -m penstock doctor
check ops 100 tests/gpu/test_device.py tests/gpu/test_ops.py
check streams 100 tests/gpu/test_stream.py tests/gpu/test_interop.py tests/gpu/test_cpp_host.py
measure "streams, measured" 120 e2e --cold-start 1.3b-480x832-2 --json $RESULTS/end_to_end_cuda.json
if "$PYTHON" -c 'import sys; from penstock.kernels.nvcc import obstacle; sys.exit(obstacle() is not None)'; then
  PENSTOCK_IMPL=gemm=measured,$HOPPER measure "streams by the kernels for Hopper, measured" 45 e2e \
    --shape 1.3b-480x832-2 1.3b-512x512-2 --note "PENSTOCK_IMPL=$HOPPER" --json $RESULTS/end_to_end_hopper.json
fi
measure "ops, measured" 80 --json $RESULTS/ops_cuda.json
measure "convolutions, measured" 45 causal_conv3d --all-calls --shape wan-480x832 --json $RESULTS/layers_cuda.json
# Under compute-sanitizer test_sanitizer takes longer than all of this: pytest tests/gpu runs it.
check "attention and convolutions" 90 tests/gpu/test_causal_conv3d.py tests/gpu/test_rolling_attention_fp8.py \
  tests/gpu/test_rolling_attention.py -k "not sanitizer"
if command -v compute-sanitizer >/dev/null; then
  sanitize memcheck 40 "not production and not heads_of_128"
  sanitize racecheck 30 "attention and not production"
else
  echo "== compute-sanitizer: not found; memcheck and racecheck of the ops were skipped"
fi
check tests/kernels 90 tests/kernels

[ ${#failed[@]} = 0 ] && exit 0
printf 'failed: %s\n' "${failed[@]}"
exit 1
