#!/usr/bin/env bash
# The C++ hosts of this folder over a library built with sanitizers: thread, then address (with leaks) and undefined.
#
# usage: sanitize.sh WORK_DIRECTORY [thread|address,undefined ...]     PYTHON: one that has penstock, for the engines
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "$1"
work=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- thread address,undefined
python=${PYTHON:-python3}

export TSAN_OPTIONS="halt_on_error=1 second_deadlock_stack=1"
export ASAN_OPTIONS="detect_leaks=1 alloc_dealloc_mismatch=0" # failures.cpp has an operator new of its own
export UBSAN_OPTIONS="halt_on_error=1 print_stacktrace=1"
launcher=$(command -v ccache || true)

(cd "$root" && "$python" -m tests.embed.echo_engine "$work/echo" && "$python" -m tests.embed.echo_engine "$work/slow" 16 16 10)
"$python" -m penstock synth tiny "$work/model" >/dev/null
"$python" -m penstock build "$work/model" "$work/tiny" --size 32x48 --steps 2 >/dev/null

for sanitizer in "$@"; do
  build="$work/${sanitizer//,/-}"
  # Lightly optimised: twice as fast to build and run as without, and every access is still there. No OpenBLAS: what is
  # not instrumented cannot be checked.
  cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Sanitize -DCMAKE_CXX_FLAGS=-O1 -DPENSTOCK_SANITIZE="$sanitizer" \
    -DPENSTOCK_OPENBLAS=OFF -DCMAKE_CXX_COMPILER_LAUNCHER="$launcher" >/dev/null
  cmake --build "$build" --parallel "$(nproc)" | tail -1
  for host in live threads failures; do
    c++ -std=c++17 -O1 -g -pthread -fsanitize="$sanitizer" "$here/$host.cpp" -o "$build/$host" \
      -I "$root/csrc/include" -L "$build" -lpenstock -Wl,-rpath,"$build"
  done
  cc -std=c11 -O1 -g -fsanitize="$sanitizer" "$here/abi.c" -o "$build/abi" -I "$root/csrc/include" -L "$build" \
    -lpenstock -Wl,-rpath,"$build"
  "$build/abi"
  "$build/live" "$work/echo" "$work/slow"
  "$build/threads" "$work/echo" 40
  "$build/threads" "$work/tiny" 10
  case "$sanitizer" in address*) "$build/failures" "$work/echo" ;; esac # about leaks
  echo "sanitize: $sanitizer: clean"
done
