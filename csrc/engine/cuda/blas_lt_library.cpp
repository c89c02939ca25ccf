#include "engine/cuda/blas_lt_library.h"

#include <dlfcn.h>

#include <cstdlib>

#include "engine/error.h"

namespace penstock::cuda {
namespace {

std::string load(BlasLtLibrary& loaded) {
  const char* chosen = std::getenv("PENSTOCK_CUBLASLT");
  const char* path = chosen && *chosen ? chosen : "libcublasLt.so.13";
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return cat("cuBLASLt (", path,
               ") not found: install the package nvidia-cublas, or name the file in "
               "PENSTOCK_CUBLASLT");
#define PENSTOCK_RESOLVE(name, arguments)                                  \
  loaded.name = reinterpret_cast<int(*) arguments>(dlsym(library, #name)); \
  if (!loaded.name) return cat("cuBLASLt (", path, ") lacks the function ", #name);
  PENSTOCK_BLAS_FUNCTIONS(PENSTOCK_RESOLVE)
#undef PENSTOCK_RESOLVE
  loaded.cublasLtGetVersion = reinterpret_cast<size_t (*)()>(dlsym(library, "cublasLtGetVersion"));
  if (!loaded.cublasLtGetVersion) return cat("cuBLASLt (", path, ") lacks the function cublasLtGetVersion");
  return "";
}

}  // namespace

const BlasLtLibrary& require_blas_lt() {
  static const BlasLtLibrary library = [] {
    BlasLtLibrary found;
    found.problem = load(found);
    return found;
  }();
  if (!library.problem.empty()) fail(PENSTOCK_ERR_UNSUPPORTED, "device cuda: ", library.problem);
  return library;
}

void check_blas(int status, const char* call) {
  if (status != 0) fail(PENSTOCK_ERR_DEVICE, "cuBLASLt: ", call, " failed with status ", status);
}

}  // namespace penstock::cuda
