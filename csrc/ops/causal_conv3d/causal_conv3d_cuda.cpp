#include "engine/cuda/ring_sizes.h"
#include "ops/causal_conv3d/causal_conv3d.h"

namespace penstock::ops {
namespace {

// The variant for a number of input and output channels: the rule of tile() in kernels/causal_conv3d.py.
cuda::Numbers tile(int64_t inputs, int64_t outputs) {
  if (inputs % 16 != 0) return {{"GATHER", 1}};
  const int64_t depth = inputs % 64 == 0 ? 64 : inputs % 32 == 0 ? 32 : 16;
  const int64_t unroll = depth == 32 && inputs % 96 == 0 ? 3 : 1;
  const bool half = outputs % 96 == 0;
  int64_t columns = half ? (outputs % 192 == 0 ? 128 : 64) : 16;
  while (!half && columns < 128 && columns < outputs) columns *= 2;
  return {{"GATHER", 0}, {"BLOCK_K", depth}, {"UNROLL", unroll}, {"BLOCK_N", columns}, {"HALF", half}};
}

}  // namespace

void causal_conv3d_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const TensorView& x = args.tensor("x");
  const int64_t inputs = args.dim("I"), outputs = args.dim("O"), interleave = args.dim("g");
  cuda::Launch launch = launcher.kernel("causal_conv3d", tile(inputs, outputs));
  for (const char* role : {"x", "x_frame", "weight", "bias", "residual", "residual_frame", "y", "y_frame"})
    launch.pointer(args.tensor(role));
  cuda::add_ring_sizes(launch, args, "x", "x_frame");
  cuda::add_ring_sizes(launch, args, "residual", "residual_frame");
  cuda::add_ring_sizes(launch, args, "y", "y_frame");
  launch.integer(x.shape[1]).integer(x.shape[2]).integer(inputs).integer(outputs);
  for (const char* symbol : {"kt", "ky", "kx", "s"}) launch.integer(args.dim(symbol));
  launch.integer(args.dim("u")).integer(args.dim("d")).integer(interleave);
  launch.integer(args.has("bias")).integer(args.has("residual")).integer(args.choice("activation") == "relu");
  const int64_t columns = launch.constant("BLOCK_N") * (launch.constant("HALF") ? 3 : 2) / 2;
  const int64_t blocks =
      cuda::ceil_div(args.dim("P") * args.dim("Q"), launch.constant("BLOCK_M")) * cuda::ceil_div(outputs, columns);
  launch.run({blocks * args.dim("u") * args.dim("u"), args.dim("T") / args.dim("d") * interleave});
}

}  // namespace penstock::ops
