#!/usr/bin/env bash
# The Python tests over a library and a module built with AddressSanitizer and UndefinedBehaviorSanitizer. Leaks are the
# business of embed/sanitize.sh: the interpreter frees little at its end.
#
# usage: sanitize.sh WORK_DIRECTORY [TEST ...]     default: the tests that run the engine; PYTHON: one with the tests'
#                                                  packages. About an hour on two cores.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1/site/penstock"
work=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- tests/engine tests/ops tests/stream tests/models tests/embed tests/cuda
python=${PYTHON:-python3}
kernels="$root/build/kernels.safetensors" # with them the CUDA backend is there, for the tests over the mock driver
[ -f "$kernels" ] || "$python" -m penstock.kernels.aot -o "$kernels"

# No OpenBLAS: what is not instrumented cannot be checked.
flags="-O1 -g1 -fsanitize=address,undefined -fno-omit-frame-pointer"
cmake -S "$root" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Sanitize -DCMAKE_CXX_FLAGS="$flags" \
  -DCMAKE_CXX_COMPILER_LAUNCHER="$(command -v ccache || true)" -DPENSTOCK_OPENBLAS=OFF \
  -DPENSTOCK_KERNEL_BUNDLE="$kernels" -DPENSTOCK_PYTHON_MODULE=ON -DPython_EXECUTABLE="$(command -v "$python")" \
  -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_INSTALL_INCLUDEDIR=include \
  >/dev/null
cmake --build "$work/build" | tail -1

# The package as it is installed, with the checkout's Python and this library.
for file in "$root"/python/penstock/* "$root/runtime" "$root/kernels" "$root/benchmarks"; do
  case "$file" in */lib | */include | *.so) ;; *) ln -sfn "$file" "$work/site/penstock/$(basename "$file")" ;; esac
done
cmake --install "$work/build" --prefix "$work/site/penstock" >/dev/null

export PYTHONPATH="$work/site:$root"
export ASAN_OPTIONS="detect_leaks=0 halt_on_error=1" UBSAN_OPTIONS="halt_on_error=1 print_stacktrace=1"
LD_PRELOAD="$(c++ -print-file-name=libasan.so) $(c++ -print-file-name=libubsan.so)"
export LD_PRELOAD
cd "$root"
# Left out: the library as it is shipped, kernels that are emulated without the library, an operator new of a host's own,
# and a stream whose memory is measured, which the sanitizer does not give back (2,000 chunks, an hour).
"$python" -m pytest -q -p no:cacheprovider --ignore tests/embed/test_wheel.py \
  --ignore tests/cuda/test_rolling_attention_sm90.py --ignore tests/cuda/test_causal_conv3d_sm90.py \
  --ignore tests/stream/test_long_stream.py \
  --deselect tests/embed/test_abi.py::test_library_depends_on_nothing_but_the_c_and_cpp_runtime \
  --deselect tests/embed/test_live_host.py::test_every_allocation_may_fail "$@"
echo "sanitize: address and undefined behaviour: clean"
