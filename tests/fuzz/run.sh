#!/usr/bin/env bash
# Builds the fuzz targets and runs each for some seconds (all at once). Fails on any finding.
#
#     tests/fuzz/run.sh [SECONDS [PLAN.json ...]]
#
# Plans become seeds. Objects, corpora and findings stay in build/fuzz, so that a second run compiles only what changed
# and goes on from where the first one stopped.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-25}
shift $(($# > 0))
targets=(safetensors plan)
declare -A max_len=([safetensors]=4096 [plan]=16384)
out=build/fuzz

die() { echo "tests/fuzz/run.sh: $*" >&2; exit 1; }
command -v clang++ >/dev/null || die "clang++ is not installed; the fuzz targets need its libFuzzer"
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "expected a number of seconds, got '$seconds'"

build() {
  mkdir -p $out
  make --no-print-directory -s -j2 -f - "${targets[@]/#/$out/fuzz_}" <<'MAKEFILE'
.RECIPEPREFIX = >
out := build/fuzz
flags := -std=c++17 -g -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -Icsrc -Icsrc/include
sources := $(wildcard csrc/engine/*.cpp csrc/engine/cpu/*.cpp csrc/engine/cuda/*.cpp csrc/ops/*.cpp csrc/ops/*/*.cpp)
objects := $(sources:%.cpp=$(out)/%.o) $(out)/kernel_bundle.o

$(out)/fuzz_%: $(out)/tests/fuzz/fuzz_%.o $(out)/penstock.a
> clang++ -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all $^ -o $@ -pthread -ldl

$(out)/penstock.a: $(objects)
> rm -f $@ && ar rcs $@ $^

$(out)/kernel_bundle.o: csrc/engine/cuda/kernel_bundle.S.in
> sed 's|@PENSTOCK_KERNEL_BUNDLE@|/dev/null|' $< >$(out)/kernel_bundle.S && clang++ -c $(out)/kernel_bundle.S -o $@

$(out)/%.o: %.cpp tests/fuzz/run.sh
> mkdir -p $(@D) && clang++ $(flags) -MMD -MP -c $< -o $@

.SECONDARY:
-include $(shell find $(out) -name '*.d')
MAKEFILE
}

fuzz() {
  local target=$1 log=$out/$1.log
  mkdir -p "$out/corpus/$target" "$out/findings"
  "$out/fuzz_$target" "$out/corpus/$target" "$out/seeds/$target" -max_total_time="$seconds" -timeout=10 \
    -rss_limit_mb=2048 -max_len="${max_len[$target]}" -dict=tests/fuzz/json.dict -print_final_stats=1 \
    -artifact_prefix="$out/findings/$target-" >"$log" 2>&1
}

report() {
  local target=$1 log=$out/$1.log runs cov
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  cov=$(grep -o 'cov: [0-9]* ft: [0-9]*' "$log" | tail -1) || cov="no coverage yet"
  echo "fuzz_$target: ${runs:-0} executions in $seconds s, $cov: $2"
}

build || die "the targets do not build"
plans=()
for plan in "$@"; do plans+=(--plan "$plan"); done
python3 tests/fuzz/make_corpus.py $out/seeds "${plans[@]}"

declare -A running
for target in "${targets[@]}"; do
  fuzz "$target" &
  running[$target]=$!
done
trap 'kill "${running[@]}" 2>/dev/null' INT TERM
failed=0
for target in "${targets[@]}"; do
  if wait "${running[$target]}"; then
    report "$target" "no finding"
  else
    failed=1
    tail -40 "$out/$target.log"
    report "$target" "FAILED; inputs in $out/findings, log in $out/$target.log"
  fi
done
exit $failed
