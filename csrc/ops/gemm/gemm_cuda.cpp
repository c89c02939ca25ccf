#include "engine/cuda/launch.h"
#include "ops/gemm/gemm.h"

namespace penstock::ops {

void gemm_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  cuda::MatrixProduct product;
  product.m = args.dim("M");
  product.n = args.dim("N");
  product.k = args.dim("K");
  product.x = args.tensor("x").data;
  product.weight = args.tensor("weight").data;
  product.bias = args.tensor("bias").data;
  product.y = args.tensor("y").data;
  product.gelu = args.choice("activation") == "gelu_tanh";
  launcher.blas().run(product, launcher.workspace(cuda::BlasLt::kWorkspaceBytes), launcher.stream());
}

}  // namespace penstock::ops
