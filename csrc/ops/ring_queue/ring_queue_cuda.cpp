#include "engine/cuda/sink_products.h"
#include "ops/ring_queue/ring_queue.h"

namespace penstock::ops {

void ring_queue_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t slots = args.dim("S"), capacity = args.dim("K"), sinks = args.dim("Z"), passes = args.dim("P");
  const auto add_state = [&](cuda::Launch& launch) {
    for (const char* role :
         {"global_end", "local_end", "current_step", "queue", "queue_size", "ring_write", "ring_length"})
      launch.pointer(args.tensor(role));
  };
  if (args.choice("phase") == "first") {
    cuda::Launch reset = launcher.kernel("ring_queue_reset");
    add_state(reset);
    reset.integer(args.dim("G")).integer(capacity).integer(sinks).integer(passes).integer(args.dim("Q"));
    reset.run({slots});
    return;
  }
  const bool adaptive = args.has("k");
  cuda::SinkProducts similar;
  if (adaptive) similar = cuda::launch_sink_products(args, launcher, "local_end", 0);
  cuda::Launch launch = launcher.kernel("ring_queue", {{"ADAPTIVE", adaptive}});
  launch.pointer(similar.products).pointer(args.tensor("frame_position"));
  add_state(launch);
  launch.integer(args.dim("F")).integer(capacity).integer(sinks).integer(passes).integer(args.dim("Q"));
  launch.integer(similar.column_blocks).real(args.real("threshold"));
  launch.run({slots});
}

}  // namespace penstock::ops
