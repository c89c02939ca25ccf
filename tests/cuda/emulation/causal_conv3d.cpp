// The convolution for Hopper on emulated threads, its tiles and its choice, for tests/cuda/test_causal_conv3d_sm90.py.
#include "ops/causal_conv3d/causal_conv3d_sm90.cu"
#include "ops/causal_conv3d/choice.h"
#include "ops/causal_conv3d/tiled_tensor.h"
#include "run.h"

namespace {

using penstock::conv::Arguments;

template <int kColumns>
void convolve_columns(const Arguments& arguments, int taps) {
  using namespace penstock::conv;
  if (taps == 1) convolve<kColumns, 1>(arguments);
  if (taps == 2) convolve<kColumns, 2>(arguments);
  if (taps == 3) convolve<kColumns, 3>(arguments);
}

void convolve_form(const Arguments& arguments, int columns, int taps) {
  if (columns == 64) convolve_columns<64>(arguments, taps);
  if (columns == 96) convolve_columns<96>(arguments, taps);
  if (columns == 128) convolve_columns<128>(arguments, taps);
  if (columns == 192) convolve_columns<192>(arguments, taps);
}

constexpr int kMultiprocessors = 132;

}  // namespace

extern "C" {

// Frames of a role as bf16 bits, a ring if there is a counter; null where the role is absent.
struct Frames {
  const uint16_t* data;
  int frames;
  const int64_t* counter;
};

// Runs the kernel on `programs` blocks. box_width: 0 for the rule's. Returns null or what went wrong.
const char* emulate_causal_conv3d(const Frames* x, const uint16_t* weight, int weight_rows, const uint16_t* bias,
                                  const Frames* residual, const uint16_t* gamma, const Frames* y, const Frames* raw,
                                  const penstock::conv::Layer* layer, int activation, int box_width, int programs,
                                  unsigned seed, int eager) {
  using namespace penstock::conv;
  const int columns = columns_for(*layer, kMultiprocessors), taps = taps_for(layer->kernel_height, layer->stride);
  if (box_width == 0) box_width = box_width_for(layer->height, layer->width, columns);
  const penstock::TiledTensor tensors[] = {tiled_frames(x->data, x->frames, *layer, columns, taps, box_width),
                                           tiled_weights(weight, weight_rows, *layer, columns)};
  const penstock::TensorMap maps[] = {emulation::map_of(tensors[0]), emulation::map_of(tensors[1])};
  const auto ring = [](const Frames& frames) { return Ring(frames.counter, frames.frames, frames.counter != nullptr); };
  const auto eights = [](const uint16_t* data) { return reinterpret_cast<uint4*>(const_cast<uint16_t*>(data)); };
  const Arguments arguments{maps[0],         maps[1],         eights(bias),      eights(residual->data),
                            eights(gamma),   eights(y->data), eights(raw->data), ring(*x),
                            ring(*residual), ring(*y),        ring(*raw),        *layer,
                            box_width,       activation};
  return emulation::run_kernel([&] { convolve_form(arguments, columns, taps); }, kThreads, programs, 232448, seed,
                               eager != 0);
}

// The tiles of a layer as rows of (frame, down, right, row, column, channel); returns their number.
int conv_tiles(const penstock::conv::Layer* layer, int* rows, int most) {
  using namespace penstock::conv;
  const int columns = columns_for(*layer, kMultiprocessors);
  const Tiles tiles(*layer, columns, box_width_for(layer->height, layer->width, columns));
  const int count = static_cast<int>(tiles.count());
  for (int i = 0; i < std::min(count, most); ++i) {
    const Tile tile = tiles.tile(i);
    const int row[] = {tile.frame, tile.down, tile.right, tile.row, tile.column, tile.channel};
    std::copy(std::begin(row), std::end(row), rows + 6 * i);
  }
  return count;
}

// How the kernel would do a layer: columns, taps, box width and pixels of a tile.
void conv_form(const penstock::conv::Layer* layer, int* form) {
  using namespace penstock::conv;
  form[0] = columns_for(*layer, kMultiprocessors);
  form[1] = taps_for(layer->kernel_height, layer->stride);
  form[2] = form[0] ? box_width_for(layer->height, layer->width, form[0]) : 0;
  form[3] = form[0] ? pixels_of(form[0]) : 0;
}

// The implementation that is chosen, a colon, and why.
const char* choose_convolution(int architecture, int has_cuda_kernel, int64_t inputs, int64_t outputs, int has_norm,
                               int has_bytes, int64_t tiles, const char* wanted) {
  static std::string text;
  const auto [implementation, why] = penstock::conv::choose(
      {architecture, has_cuda_kernel != 0, inputs, outputs, has_norm != 0, has_bytes != 0, tiles, wanted});
  text = std::string(implementation) + ": " + std::string(why);
  return text.c_str();
}

}  // extern "C"
