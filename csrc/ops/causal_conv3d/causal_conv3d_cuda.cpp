#include <algorithm>
#include <string>

#include "engine/cuda/float8_check.h"
#include "engine/cuda/implementation.h"
#include "engine/cuda/ring_sizes.h"
#include "engine/error.h"
#include "ops/causal_conv3d/causal_conv3d.h"
#include "ops/causal_conv3d/choice.h"
#include "ops/causal_conv3d/tiled_tensor.h"

namespace penstock::ops {
namespace {

constexpr const char* kHopperKernel = "causal_conv3d_sm90";

// The Triton variant for a layer: the rule of tile() in kernels/causal_conv3d.py.
cuda::Numbers tile(const OpArgs& args) {
  const int64_t inputs = args.dim("I"), outputs = args.dim("O");
  cuda::Numbers wanted{{"X_CODES", args.has("sum_scale")},
                       {"Y_CODES", args.has("y_scale")},
                       {"X_PIXELS", args.integer("x_range") > 0},
                       {"Y_PIXELS", args.integer("y_range") > 0}};
  wanted["GATHER"] = inputs % 16 != 0 || args.integer("x_range") > 0;
  if (wanted["GATHER"]) return wanted;
  const int64_t depth = inputs % 64 == 0 ? 64 : inputs % 32 == 0 ? 32 : 16;
  const bool half = outputs % 96 == 0;
  int64_t columns = half ? (outputs % 192 == 0 ? 128 : 64) : 16;
  while (!half && columns < 128 && columns < outputs) columns *= 2;
  wanted["BLOCK_K"] = depth;
  wanted["UNROLL"] = depth == 32 && inputs % 96 == 0 ? 3 : 1;
  wanted["BLOCK_N"] = columns;
  wanted["HALF"] = half;
  return wanted;
}

// Whether x or y is 8-bit floats or pixels.
bool has_bytes(const OpArgs& args) {
  return args.has("sum_scale") || args.has("y_scale") || args.integer("x_range") > 0 || args.integer("y_range") > 0;
}

int64_t out_frames(const OpArgs& args) { return args.dim("T") / args.dim("d") * args.dim("g"); }

conv::Layer layer_of(const OpArgs& args) {
  const auto size = [&](const char* symbol) {
    const int64_t value = args.dim(symbol);
    if (value > INT32_MAX / 2)
      fail(PENSTOCK_ERR_UNSUPPORTED, "causal_conv3d: ", symbol, " = ", value, " is too large for a CUDA device");
    return static_cast<int>(value);
  };
  return {static_cast<int>(out_frames(args)),
          size("P"),
          size("Q"),
          size("I"),
          size("O"),
          size("kt"),
          size("ky"),
          size("kx"),
          size("s"),
          size("u"),
          size("d"),
          size("g")};
}

// How the kernel for Hopper does a layer; 0 columns if it does not.
struct Form {
  int columns, taps, box_width;
  int64_t tiles;
};

Form form_for_hopper(const OpArgs& args, const conv::Layer& layer, const cuda::Launcher& launcher) {
  const std::string wanted = cuda::wanted_implementation("causal_conv3d");
  Form form{conv::columns_for(layer, launcher.multiprocessors()), conv::taps_for(layer.kernel_height, layer.stride), 0,
            0};
  if (form.columns > 0) {
    form.box_width = conv::box_width_for(layer.height, layer.width, form.columns);
    form.tiles = conv::Tiles(layer, form.columns, form.box_width).count();
  }
  const conv::Choice choice =
      conv::choose({launcher.architecture(), launcher.has_kernel(kHopperKernel, {}), args.dim("I"), args.dim("O"),
                    args.has("gamma"), has_bytes(args), form.tiles, wanted});
  if (choice.implementation.empty())
    fail(PENSTOCK_ERR_UNSUPPORTED, "PENSTOCK_IMPL: causal_conv3d=", wanted, ": ", std::string(choice.why));
  return choice.implementation == "cuda" ? form : Form{};
}

void add_sizes(cuda::Launch& launch, const OpArgs& args) {
  cuda::add_ring_sizes(launch, args, args.has("past") ? "past" : "x", "x_frame");
  cuda::add_ring_sizes(launch, args, "residual", "residual_frame");
  cuda::add_ring_sizes(launch, args, "y", "y_frame");
  cuda::add_ring_sizes(launch, args, "raw", "raw_frame");
}

void run_on_hopper(const OpArgs& args, const conv::Layer& layer, const Form& form, cuda::Launcher& launcher) {
  cuda::Launch launch = launcher.kernel(kHopperKernel, {{"COLUMNS", form.columns}, {"TAPS", form.taps}});
  const TensorView &x = args.tensor("x"), &weight = args.tensor("weight");
  launch.tensor_map(conv::tiled_frames(x.data, x.shape[0], layer, form.columns, form.taps, form.box_width));
  launch.pointer(args.tensor("x_frame"));
  launch.tensor_map(conv::tiled_weights(weight.data, weight.shape[0], layer, form.columns));
  for (const char* role : {"bias", "residual", "residual_frame", "gamma", "y", "y_frame", "raw", "raw_frame"})
    launch.pointer(args.tensor(role));
  add_sizes(launch, args);
  for (const char* symbol : {"P", "Q", "I", "O", "kt", "ky", "kx", "s", "u", "d", "g"})
    launch.integer(args.dim(symbol));
  launch.integer(args.integer("activation")).integer(layer.frames).integer(form.box_width);
  launch.run({std::min<int64_t>(form.tiles, launcher.multiprocessors())});
}

void run_by_triton(const OpArgs& args, cuda::Launcher& launcher) {
  const TensorView& x = args.tensor("x");
  const int64_t inputs = args.dim("I"), outputs = args.dim("O");
  cuda::Launch launch = launcher.kernel("causal_conv3d", tile(args));
  for (const char* role : {"x", "past", "x_frame", "weight", "bias", "residual", "residual_frame", "gamma", "y",
                           "y_frame", "raw", "raw_frame", "sum_scale", "y_scale"})
    launch.pointer(args.tensor(role));
  add_sizes(launch, args);
  launch.integer(x.shape[1]).integer(x.shape[2]).integer(inputs).integer(outputs);
  for (const char* symbol : {"kt", "ky", "kx", "s", "u", "d", "g"}) launch.integer(args.dim(symbol));
  for (const char* role : {"bias", "residual", "gamma", "raw"}) launch.integer(args.has(role));
  // Choices in the order of ACTIVATIONS and RANGES in kernels/.
  for (const char* choice : {"activation", "x_range", "y_range"}) launch.integer(args.integer(choice));
  const int64_t columns = launch.constant("BLOCK_N") * (launch.constant("HALF") ? 3 : 2) / 2;
  if (args.has("gamma") && outputs > columns)
    fail(PENSTOCK_ERR_UNSUPPORTED, "causal_conv3d: a norm over ", outputs, " channels on a CUDA device, at most ",
         columns);
  const int64_t blocks =
      cuda::ceil_div(args.dim("P") * args.dim("Q"), launch.constant("BLOCK_M")) * cuda::ceil_div(outputs, columns);
  launch.run({blocks * args.dim("u") * args.dim("u"), out_frames(args)});
}

}  // namespace

void causal_conv3d_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  if (args.has("sum_scale") || args.has("y_scale")) cuda::require_8_bit_floats(launcher, "fp8_vae");
  const conv::Layer layer = layer_of(args);
  const Form form = form_for_hopper(args, layer, launcher);
  if (form.columns > 0)
    run_on_hopper(args, layer, form, launcher);
  else
    run_by_triton(args, launcher);
}

}  // namespace penstock::ops
