// causal_conv3d for Hopper: raw = conv(x) + bias + residual, y = act(raw) or act(norm(raw) gamma), bf16, as an implicit
// matrix product.
//
// The op, its layouts and its cost: causal_conv3d.h. One block for each multiprocessor takes one tile (tile.h) after
// the other; 4 warpgroups of 128 threads:
//
//   producer   one thread. For every tap in time, tap in a row and 32 input channels, one copy by TMA of the pixels
//              that the tile sees, straight from their place in the ring, and one of weights for every tap in a column.
//              What lies outside of the picture comes as zeros, which is the padding; so does a frame before the first
//              of a plain tensor. 32 registers
//   consumers  three warpgroups with 64 to 192 pixels each: wgmma with exactly as many columns as the tile has output
//              channels, sums in f32. Then bias, residual, norm and activation, and the pixels of y. Four lanes of a
//              warp have all channels of two pixels, so a norm takes two exchanges. 160 registers
//
// Without care this is bound not by the tensor cores but by the way from the second-level cache: for every tap anew,
// 384 pixels and 96 channels ask for 53 bytes in each of the cycles that their products take, 192 and 192 for 43. So a
// copy of pixels has kTaps - 1 more rows, and serves all taps of a column of the kernel: the next tap's operand is the
// same memory a row of pixels further, which is a multiple of what the swizzle repeats after. That leaves 25 and 29.
//
// A consumer that is done with a tile writes it while the others compute, and the producer is kStages steps ahead.
#include <cmath>
#include <cstdint>

#include "ops/causal_conv3d/tile.h"
#include "ptx/approximate.h"
#include "ptx/bf16.h"
#include "ptx/mbarrier.h"
#include "ptx/swizzle_64.h"
#include "ptx/tma.h"
#include "ptx/warp.h"
#include "ptx/wgmma_narrow.h"

namespace penstock::conv {
namespace {

using ptx::Barrier;

constexpr int kThreads = 128 * (1 + kConsumers);
constexpr int kProducerRegisters = 32, kConsumerRegisters = 160;
constexpr int kStageMemory = 224 << 10;  // bytes, of the 227 KiB that a block may have

// A form of the kernel: kColumns output channels, and kTaps taps that share their pixels.
template <int kColumns, int kTaps>
struct Form {
  static constexpr int kBlocks = blocks_of(kColumns);
  static constexpr int kTapWeightBytes = kColumns * ptx::kNarrowRowBytes;
  static constexpr int kWeightBytes = kTaps * kTapWeightBytes;
  static constexpr int kPixelBytes = (pixels_of(kColumns) + (kTaps - 1) * kWidestBox) * ptx::kNarrowRowBytes;
  static constexpr int kStages = kStageMemory / (kPixelBytes + kWeightBytes);

  struct Stage {
    unsigned char pixels[kPixelBytes];
    unsigned char weights[kWeightBytes];
  };
  struct Shared {
    Stage stages[kStages];
    Barrier full[kStages], empty[kStages];
  };
  using Sums = float[kBlocks][kColumns / 2];
};

// Frames of a tensor, as engine/frames.h defines them. Of a plain one, frames before the first are negative.
struct Ring {
  __device__ Ring(const int64_t* counter, int frames, int is_ring)
      : frames(frames), first(is_ring ? static_cast<int>(*counter % frames) : 0), is_ring(is_ring) {
    if (first < 0) first += frames;
  }
  __device__ int slot(int frame) const {
    int index = first + frame;
    if (!is_ring) return index;
    if (index >= frames) index -= frames;
    return index < 0 ? index + frames : index;
  }

  int frames, first, is_ring;
};

struct Arguments {
  const TensorMap &x, &weight;
  const uint4 *bias, *residual, *gamma;  // 8 channels each; null where absent
  uint4 *y, *raw;
  Ring x_ring, residual_ring, y_ring, raw_ring;
  Layer layer;
  int box_width, activation;  // 1: relu, 2: silu
};

// Goes round the stages. parity: of the phase in which a stage is filled.
template <int kStages>
struct Turn {
  int index = 0;
  uint32_t parity = 0;
  __device__ void next() {
    if (++index < kStages) return;
    index = 0;
    parity ^= 1;
  }
};

// Where the first tap of position 0 is along one side, `shift` pixels into a block of a doubled picture.
__device__ int first_tap(const Layer& layer, int kernel, int shift) {
  return layer.stride == 1 ? (shift + 1 - kernel) >> 1 : 0;
}

// The producer: one thread.
template <int kColumns, int kTaps>
__device__ void produce(const Arguments& arguments, typename Form<kColumns, kTaps>::Shared& shared) {
  using F = Form<kColumns, kTaps>;
  const Layer& layer = arguments.layer;
  const Tiles tiles(layer, kColumns, arguments.box_width);
  const int tile_count = static_cast<int>(tiles.count());
  const int box_pixels = pixels_of(kColumns) + (kTaps - 1) * arguments.box_width;
  Turn<F::kStages> turn;
  for (int number = blockIdx.x; number < tile_count; number += gridDim.x) {
    const Tile tile = tiles.tile(number);
    const int step = tile.frame / layer.interleave, group = tile.frame % layer.interleave;
    const int place = tile.down * layer.upsample + tile.right;
    const int weight_row = (place * layer.interleave + group) * layer.outputs + tile.channel;
    const int top = tile.row * layer.stride + first_tap(layer, layer.kernel_height, tile.down);
    const int left = tile.column * layer.stride + first_tap(layer, layer.kernel_width, tile.right);
    const int first_input = layer.time_stride * (step + 1) - layer.kernel_time;
    for (int time = 0; time < layer.kernel_time; ++time) {
      const int slot = arguments.x_ring.slot(first_input + time);
      for (int down = 0; down < layer.kernel_height; down += kTaps)
        for (int right = 0; right < layer.kernel_width; ++right) {
          const int tap = (time * layer.kernel_height + down) * layer.kernel_width + right;
          for (int channel = 0; channel < layer.inputs; channel += kDepth, turn.next()) {
            Barrier& full = shared.full[turn.index];
            typename F::Stage& stage = shared.stages[turn.index];
            ptx::wait(shared.empty[turn.index], turn.parity ^ 1);
            ptx::arrive_expect(full, box_pixels * ptx::kNarrowRowBytes + F::kWeightBytes);
            ptx::load_box(stage.pixels, arguments.x, full, channel, left + right, top + down, slot);
            for (int i = 0; i < kTaps; ++i)
              ptx::load_box(stage.weights + i * F::kTapWeightBytes, arguments.weight, full, channel,
                            tap + i * layer.kernel_width, weight_row, 0);
          }
        }
    }
  }
}

// Starts the products of a stage: pixels, of this consumer, and weights are shared addresses.
template <int kColumns, int kTaps>
__device__ void multiply(typename Form<kColumns, kTaps>::Sums& sums, uint32_t pixels, uint32_t weights, int box_width,
                         bool add) {
  using F = Form<kColumns, kTaps>;
#pragma unroll
  for (int block = 0; block < F::kBlocks; ++block) ptx::pin(sums[block]);
  ptx::wgmma_fence();
#pragma unroll
  for (int tap = 0; tap < kTaps; ++tap)
#pragma unroll
    for (int k = 0; k < kDepth / 16; ++k)
#pragma unroll
      for (int block = 0; block < F::kBlocks; ++block) {
        const uint32_t row = tap * box_width + block * kBlockPixels;
        ptx::wgmma_narrow(sums[block], ptx::narrow_descriptor(pixels + row * ptx::kNarrowRowBytes + k * 32),
                          ptx::narrow_descriptor(weights + tap * F::kTapWeightBytes + k * 32), add || tap + k > 0);
      }
  ptx::wgmma_commit();
}

// A warp has read a stage; the producer may fill it again when all warps have.
__device__ void release(Barrier& empty, int lane) {
  __syncwarp();
  if (lane == 0) ptx::arrive(empty);
}

// The sums of a tile; the memory of each stage is given back when the products after it have begun.
template <int kColumns, int kTaps>
__device__ void sum_up(typename Form<kColumns, kTaps>::Sums& sums, typename Form<kColumns, kTaps>::Shared& shared,
                       Turn<Form<kColumns, kTaps>::kStages>& turn, const Arguments& arguments, int consumer, int lane) {
  using F = Form<kColumns, kTaps>;
  const Layer& layer = arguments.layer;
  const int taps = layer.kernel_time * layer.kernel_height * layer.kernel_width;
  const int steps = taps / kTaps * (layer.inputs / kDepth);
  const uint32_t own_pixels = consumer * F::kBlocks * kBlockPixels * ptx::kNarrowRowBytes;
  int before = 0;
  for (int step = 0; step < steps; ++step, before = turn.index, turn.next()) {
    typename F::Stage& stage = shared.stages[turn.index];
    ptx::wait(shared.full[turn.index], turn.parity);
    multiply<kColumns, kTaps>(sums, ptx::shared_address(stage.pixels) + own_pixels, ptx::shared_address(stage.weights),
                              arguments.box_width, step > 0);
    if (step == 0) continue;
    ptx::wgmma_wait<1>();
    release(shared.empty[before], lane);
  }
  ptx::wgmma_wait<0>();
#pragma unroll
  for (int block = 0; block < F::kBlocks; ++block) ptx::pin(sums[block]);
  release(shared.empty[before], lane);
}

// Four lanes hold a row of 32 columns, each two of every eight; afterwards each holds eight in a row, in values[0..7].
// Element l of a lane's four pairs becomes what lane l had in this lane's place: a transposition by two exchanges.
__device__ void gather_columns(float (&values)[8], int lane) {
#pragma unroll
  for (int bit = 1; bit < 4; bit *= 2)
#pragma unroll
    for (int pair = 0; pair < 4; ++pair) {
      if (pair & bit) continue;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float &low = values[2 * pair + i], &high = values[2 * (pair | bit) + i];
        const float other = ptx::shuffle_xor(lane & bit ? low : high, bit);
        (lane & bit ? low : high) = other;
      }
    }
}

__device__ void unpack_eight(float (&values)[8], const uint4& packed) {
  ptx::unpack_bf16(packed.x, values[0], values[1]);
  ptx::unpack_bf16(packed.y, values[2], values[3]);
  ptx::unpack_bf16(packed.z, values[4], values[5]);
  ptx::unpack_bf16(packed.w, values[6], values[7]);
}

__device__ uint4 pack_eight(const float (&values)[8]) {
  return {ptx::pack_bf16(values[0], values[1]), ptx::pack_bf16(values[2], values[3]),
          ptx::pack_bf16(values[4], values[5]), ptx::pack_bf16(values[6], values[7])};
}

__device__ void add_eight(float (&values)[8], const uint4& packed) {
  float added[8];
  unpack_eight(added, packed);
#pragma unroll
  for (int i = 0; i < 8; ++i) values[i] += added[i];
}

// Where a tile's results go, in units of 8 channels; null where there is none.
struct Target {
  __device__ Target(const Arguments& arguments, const Tile& tile)
      : layer(arguments.layer), tile(tile), gamma(arguments.gamma), activation(arguments.activation) {
    const int64_t frame = int64_t{layer.height} * layer.width * layer.upsample * layer.upsample * (layer.outputs / 8);
    y = arguments.y + arguments.y_ring.slot(tile.frame) * frame;
    raw = arguments.raw ? arguments.raw + arguments.raw_ring.slot(tile.frame) * frame : nullptr;
    residual = arguments.residual ? arguments.residual + arguments.residual_ring.slot(tile.frame) * frame : nullptr;
    bias = arguments.bias;
    if (bias) bias += (tile.frame % layer.interleave * layer.outputs + tile.channel) / 8;
  }

  // Of a pixel of the tile's box; -1 beyond the picture.
  __device__ int64_t offset(int pixel) const {
    const int row = tile.row + pixel / tile.box_width, column = tile.column + pixel % tile.box_width;
    if (row >= layer.height || column >= layer.width) return -1;
    const int64_t y_row = row * layer.upsample + tile.down;
    return ((y_row * layer.width + column) * layer.upsample + tile.right) * (layer.outputs / 8) + tile.channel / 8;
  }

  const Layer& layer;
  const Tile& tile;
  uint4 *y, *raw;
  const uint4 *residual, *bias, *gamma;
  int activation;
};

// The fragment's floats that are a lane's eight of a row: before gather_columns two of every eight columns, after it
// eight in a row.
__device__ constexpr int place_of(int group, int r, int i) { return 16 * group + i / 2 * 4 + 2 * r + i % 2; }

// Bias and residual onto a row's sums, which become raw; returns the factor of the row's norm. A row is a pixel, of
// which a lane has 8 of every 32 channels.
template <int kCount>
__device__ float add_up(float (&sums)[kCount], int r, const Target& target, int64_t offset, int lane) {
  float squares = 0.0f;
#pragma unroll
  for (int group = 0; group < kCount / 16; ++group) {
    float values[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = sums[place_of(group, r, i)];
    gather_columns(values, lane);
    const int eight = group * 4 + lane % 4;
    if (target.bias) add_eight(values, target.bias[eight]);
    if (target.residual && offset >= 0) add_eight(values, target.residual[offset + eight]);
    if (target.raw && offset >= 0) target.raw[offset + eight] = pack_eight(values);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      squares += values[i] * values[i];
      sums[place_of(group, r, i)] = values[i];
    }
  }
  squares += ptx::shuffle_xor(squares, 1);
  squares += ptx::shuffle_xor(squares, 2);
  const float inverse = ptx::reciprocal_root(squares);
  return sqrtf(2.0f * kCount) * (inverse > 1e12f ? 1e12f : inverse);  // NaN stays
}

__device__ void activate(float (&values)[8], int activation) {
  constexpr float kLog2E = 1.4426950408889634f;
  if (activation == 1)
#pragma unroll
    for (float& value : values) value = value < 0.0f ? 0.0f : value;  // NaN stays
  if (activation == 2)
#pragma unroll
    for (float& value : values) value *= ptx::reciprocal(1.0f + ptx::exp2(-kLog2E * value));
}

// A row of y.
template <int kCount>
__device__ void store_row(const float (&sums)[kCount], int r, float factor, const Target& target, int64_t offset,
                          int lane) {
#pragma unroll
  for (int group = 0; group < kCount / 16; ++group) {
    const int eight = group * 4 + lane % 4;
    float values[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = sums[place_of(group, r, i)];
    if (target.gamma) {
      float gamma[8];
      unpack_eight(gamma, target.gamma[eight]);
#pragma unroll
      for (int i = 0; i < 8; ++i) values[i] *= factor * gamma[i];
    }
    activate(values, target.activation);
    target.y[offset + eight] = pack_eight(values);
  }
}

// thread: its number in the warpgroup; first_pixel: the warpgroup's first of the box.
template <int kColumns, int kBlocks>
__device__ void store(float (&sums)[kBlocks][kColumns / 2], const Target& target, int first_pixel, int thread) {
#pragma unroll
  for (int block = 0; block < kBlocks; ++block)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int64_t offset = target.offset(first_pixel + block * kBlockPixels + ptx::fragment_row(thread, 2 * r));
      const float factor = add_up(sums[block], r, target, offset, thread % 32);
      if (offset >= 0) store_row(sums[block], r, factor, target, offset, thread % 32);
    }
}

// A consumer; thread: its number in the warpgroup.
template <int kColumns, int kTaps>
__device__ void consume(const Arguments& arguments, typename Form<kColumns, kTaps>::Shared& shared, int consumer,
                        int thread) {
  using F = Form<kColumns, kTaps>;
  const Tiles tiles(arguments.layer, kColumns, arguments.box_width);
  const int tile_count = static_cast<int>(tiles.count());
  Turn<F::kStages> turn;
  for (int number = blockIdx.x; number < tile_count; number += gridDim.x) {
    typename F::Sums sums;
    sum_up<kColumns, kTaps>(sums, shared, turn, arguments, consumer, thread % 32);
    const Tile tile = tiles.tile(number);
    store<kColumns, F::kBlocks>(sums, Target(arguments, tile), consumer * F::kBlocks * kBlockPixels, thread);
  }
}

template <int kColumns, int kTaps>
__device__ void convolve(const Arguments& arguments) {
  using F = Form<kColumns, kTaps>;
  auto& shared = *reinterpret_cast<typename F::Shared*>(ptx::dynamic_shared());
  if (threadIdx.x == 0) {
    for (int i = 0; i < F::kStages; ++i) {
      ptx::init(shared.full[i], 1);
      ptx::init(shared.empty[i], 4 * kConsumers);  // every warp says for itself that it has read a stage
    }
    ptx::fence_init();
  }
  __syncthreads();
  const int warpgroup = threadIdx.x / 128;
  if (warpgroup == 0) {
    ptx::fewer_registers<kProducerRegisters>();
    if (threadIdx.x == 0) produce<kColumns, kTaps>(arguments, shared);
  } else {
    ptx::more_registers<kConsumerRegisters>();
    consume<kColumns, kTaps>(arguments, shared, warpgroup - 1, threadIdx.x % 128);
  }
}

}  // namespace
}  // namespace penstock::conv

#ifdef __CUDACC__
// Grid (P), P at most the number of multiprocessors. x: tensor (I, width, height, frames), boxes of (32, box_width,
// rows of a tile and PENSTOCK_TAPS - 1 more, 1), every stride-th; weight: (I, taps, rows), boxes (32, 1, columns).
// Parameters otherwise as causal_conv3d_kernel of kernels/causal_conv3d.py, height and width in positions.
extern "C" __global__ __launch_bounds__(penstock::conv::kThreads, 1) void causal_conv3d_sm90(
    const __grid_constant__ penstock::TensorMap x, const int64_t* x_frame,
    const __grid_constant__ penstock::TensorMap weight, const uint4* bias, const uint4* residual,
    const int64_t* residual_frame, const uint4* gamma, uint4* y, const int64_t* y_frame, uint4* raw,
    const int64_t* raw_frame, int x_frames, int x_is_ring, int residual_frames, int residual_is_ring, int y_frames,
    int y_is_ring, int raw_frames, int raw_is_ring, int height, int width, int inputs, int outputs, int kernel_time,
    int kernel_height, int kernel_width, int stride, int upsample, int time_stride, int interleave, int activation,
    int frames, int box_width) {
  using namespace penstock::conv;
  using F = Form<PENSTOCK_COLUMNS, PENSTOCK_TAPS>;
  static_assert(PENSTOCK_WARPS * 32 == kThreads && PENSTOCK_SHARED >= sizeof(F::Shared) + 1023,
                "kernels/causal_conv3d_sm90.py says otherwise");
  const Layer layer{frames,        height,       width,  inputs,   outputs,     kernel_time,
                    kernel_height, kernel_width, stride, upsample, time_stride, interleave};
  const Ring x_ring(x_frame, x_frames, x_is_ring), residual_ring(residual_frame, residual_frames, residual_is_ring);
  const Ring y_ring(y_frame, y_frames, y_is_ring), raw_ring(raw_frame, raw_frames, raw_is_ring);
  convolve<PENSTOCK_COLUMNS, PENSTOCK_TAPS>({x, weight, bias, residual, gamma, y, raw, x_ring, residual_ring, y_ring,
                                             raw_ring, layer, box_width, activation});
}
#endif
