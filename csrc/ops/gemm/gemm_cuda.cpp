#include "engine/cuda/launch.h"
#include "ops/gemm/gemm.h"

namespace penstock::ops {

void gemm_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  launcher.blas().run(cuda::product_of(args), launcher.workspace(cuda::BlasLt::kWorkspaceBytes), launcher.stream());
}

}  // namespace penstock::ops
