#include "engine/cuda/launch.h"
#include "ops/motion_noise/motion_noise.h"

namespace penstock::ops {

// Sums of squared differences, block by block, and then one program that decides.
void motion_noise_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const bool first = args.choice("phase") == "first";
  const int64_t frames = args.dim("T"), elements = args.tensor("previous").size();
  cuda::Launch motion = launcher.kernel("frame_motion", {{"FIRST", first}});
  const int64_t blocks = cuda::ceil_div(elements, motion.constant("BLOCK"));
  void* sums = launcher.workspace(static_cast<size_t>(frames * blocks) * sizeof(int64_t));
  motion.pointer(args.tensor("frames")).pointer(args.tensor("previous")).pointer(sums);
  motion.integer(elements).integer(frames);
  motion.run({blocks});

  cuda::Launch level = launcher.kernel("noise_level", {{"FIRST", first}});
  level.pointer(sums);
  for (const char* role : {"level_bits", "initial_scale", "first_timestep", "table_timesteps", "table_sigmas",
                           "noise_scale", "timestep", "sigma"})
    level.pointer(args.tensor(role));
  level.integer(elements).integer(frames).integer(blocks).integer(args.dim("P"));
  level.run({});
}

}  // namespace penstock::ops
