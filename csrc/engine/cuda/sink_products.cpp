#include "engine/cuda/sink_products.h"

#include <string_view>

namespace penstock::cuda {

SinkProducts launch_sink_products(const OpArgs& args, Launcher& launcher, const char* seen, int64_t first_frames) {
  const bool queue = std::string_view(seen) == "local_end";
  const int64_t slots = args.dim("S"), sinks = args.dim("Z"), width = args.dim("H") * args.dim("D");
  Launch launch = launcher.kernel("sink_products", {{"QUEUE", queue}});
  SinkProducts result;
  result.column_blocks = ceil_div(width, launch.constant("COLUMNS"));
  const int64_t products = slots * 2 * (2 * sinks + 1) * result.column_blocks;  // 2: keys and values
  result.products = launcher.workspace(static_cast<size_t>(products) * sizeof(float));
  for (const char* role : {"k", "v", "k_cache", "v_cache", seen}) launch.pointer(args.tensor(role));
  launch.pointer(result.products).integer(args.dim("T")).integer(width).integer(args.dim("K")).integer(sinks);
  launch.integer(first_frames);
  launch.run({result.column_blocks, 2, slots});
  return result;
}

}  // namespace penstock::cuda
