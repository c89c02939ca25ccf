#include "engine/cuda/sink_products.h"
#include "ops/sink_refresh/sink_refresh.h"

namespace penstock::ops {

void sink_refresh_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t slots = args.dim("S"), first_frames = args.dim("G"), sinks = args.dim("Z");
  const auto add_state = [&](cuda::Launch& launch) {
    for (const char* role : {"ring_next", "sink_shift", "ring_write", "ring_length"}) launch.pointer(args.tensor(role));
  };
  if (args.choice("phase") == "first") {
    cuda::Launch reset = launcher.kernel("sink_reset");
    add_state(reset);
    reset.integer(first_frames).integer(sinks).run({slots});
    return;
  }
  const cuda::SinkProducts similar = cuda::launch_sink_products(args, launcher, "row_chunk", first_frames);
  cuda::Launch launch = launcher.kernel("sink_refresh");
  launch.pointer(similar.products).pointer(args.tensor("row_chunk")).pointer(args.tensor("frame_position"));
  add_state(launch);
  launch.integer(first_frames).integer(args.dim("K")).integer(sinks).integer(similar.column_blocks);
  launch.real(args.real("threshold"));
  launch.run({slots});
}

}  // namespace penstock::ops
