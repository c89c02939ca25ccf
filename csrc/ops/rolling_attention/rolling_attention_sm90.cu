// rolling_attention for Hopper: out[s] = softmax(q[s] k_cache[s, :L]^T / sqrt(D)) v_cache[s, :L], D = 128, bf16.
//
// The op, its layouts and its cost: rolling_attention.h. What kernels/rolling_attention.py does in Triton, with the
// same deal (deal.h), the same partial results and the same merge, but with Hopper's own means:
//
//   one block for each multiprocessor, 3 warpgroups of 128 threads
//   producer   one warp: TMA of the tile of queries, then of keys and values, two stages of 128 rows each, straight
//              from the ring. 24 registers
//   consumers  two warpgroups, 64 queries each: S = Q K^T from shared memory, P = exp2(S - max) in registers, which
//              are the left operand of O += P V as they are. The products of a block's keys and of the values of
//              the block before are started together, so that the softmax overlaps the second. 240 registers
//
// With PENSTOCK_PING_PONG they also take turns to start products: the tensor cores then work for one while the other is
// at its softmax. The results are the same to the bit.
//
// Bound by the tensor cores: 4 64 128 128 FLOPs of a consumer for a block and 16 K exponentials. Shared memory:
// 32 KiB of queries, 64 KiB of keys, 64 KiB of values.
//
// Keys beyond a slot's length may be NaN. Their scores are masked; their values are zeroed in shared memory by the
// producer before the consumers see them, because 0 * NaN is NaN. TMA does not reach beyond a slot: coordinates outside
// of the tensor give zeros.
#include <cmath>
#include <cstdint>

#include "ops/rolling_attention/deal.h"
#include "ptx/mbarrier.h"
#include "ptx/named_barrier.h"
#include "ptx/swizzle.h"
#include "ptx/tma.h"
#include "ptx/warp.h"
#include "ptx/wgmma.h"

namespace penstock::attention {
namespace {

using ptx::Barrier;

constexpr int kHeadDim = 128;
constexpr int kBlockM = 128, kBlockN = 128;
constexpr int kStages = 2;
constexpr int kConsumers = 2;                   // warpgroups
constexpr int kConsumerRows = 64;               // queries of each
constexpr int kConsumerWarps = 4 * kConsumers;  // each says for itself that it has read a tile
constexpr int kThreads = 128 * (1 + kConsumers);
constexpr int kProducerRegisters = 24, kConsumerRegisters = 240;
constexpr int kHalf = kHeadDim / 2;  // columns that a swizzled row holds
constexpr int kRowBytes = ptx::kSwizzleBytes;
constexpr int kEightRows = ptx::kSwizzleRows * kRowBytes;
constexpr float kScale = 1.4426950408889634f * 0.08838834764831845f;  // log2(e) / sqrt(128)

// 128 rows of 128 columns, as two halves of 64 columns.
struct Tile {
  static constexpr int kHalfBytes = 128 * kRowBytes;
  static constexpr int kBytes = 2 * kHalfBytes;
  unsigned char bytes[kBytes];
};
static_assert(kBlockM == 128 && kBlockN == 128 && kHalf * 2 == kRowBytes, "a tile has 128 rows and two halves");

struct Shared {
  Tile q, k[kStages], v[kStages];
  Barrier q_full, q_empty, k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages], v_loaded;
};

#ifdef __CUDACC__
static_assert(PENSTOCK_HEAD_DIM == kHeadDim && PENSTOCK_BLOCK_M == kBlockM && PENSTOCK_BLOCK_N == kBlockN &&
                  PENSTOCK_WARPS * 32 == kThreads && PENSTOCK_SHARED >= sizeof(Shared) + 1023,
              "kernels/rolling_attention.py says otherwise");
#endif

struct Arguments {
  const TensorMap &q, &k, &v;
  const int* ring_length;
  uint32_t* out;         // pairs of bf16 [S N, H D / 2]
  float* partial;        // [2 P, kBlockM, D]
  float* partial_stats;  // [2 P, 2, kBlockM]: maximum of the scores in units of log2, total of the weights
  Shape shape;
};

// Goes through the parts of a block's share: for (Parts parts(arguments); parts.next(); ) use parts.part.
class Parts {
 public:
  __device__ explicit Parts(const Arguments& arguments) : deal_(arguments.shape, arguments.ring_length) {
    const int units = deal_.units();
    unit_ = first_unit(blockIdx.x, units, gridDim.x);
    end_ = first_unit(blockIdx.x + 1, units, gridDim.x);
  }
  __device__ bool next() {
    if (unit_ >= end_) return false;
    part = deal_.part(unit_, end_);
    unit_ += part.last - part.first;
    return true;
  }

  Part part{};

 private:
  Deal<kBlockM, kBlockN> deal_;
  int unit_, end_;
};

// Counts uses of a ring of stages: which one is next, and the parity of the phase in which it is filled.
struct Stage {
  int count = 0;
  __device__ int index() const { return count % kStages; }
  __device__ uint32_t parity() const { return count / kStages % 2; }
};

__device__ void load_tile(Tile& tile, const TensorMap& map, Barrier& barrier, int head, int row, int slot) {
  ptx::arrive_expect(barrier, Tile::kBytes);
  ptx::load_box(tile.bytes, map, barrier, 0, head, row, slot);
  ptx::load_box(tile.bytes + Tile::kHalfBytes, map, barrier, kHalf, head, row, slot);
}

// By a whole warp: zeros in all rows from `rows` on.
__device__ void clear_rows(Tile& tile, int rows, int lane) {
  constexpr int kPiece = sizeof(uint4);
  for (int half = 0; half < 2; ++half)
    for (int byte = rows * kRowBytes + lane * kPiece; byte < Tile::kHalfBytes; byte += 32 * kPiece)
      *reinterpret_cast<uint4*>(tile.bytes + half * Tile::kHalfBytes + byte) = uint4{};
  ptx::fence_async();
  __syncwarp();
}

// The producer: one warp, whose first lane starts all copies.
__device__ void produce(const Arguments& arguments, Shared& shared, int lane) {
  const bool leader = lane == 0;
  Stage stage;
  int tiles = 0, cleared = 0;
  for (Parts parts(arguments); parts.next(); ++tiles) {
    const Part& part = parts.part;
    ptx::wait(shared.q_empty, (tiles + 1) % 2);
    if (leader) load_tile(shared.q, arguments.q, shared.q_full, part.head, part.query_tile * kBlockM, part.slot);
    for (int block = part.first; block < part.last; ++block, ++stage.count) {
      const int i = stage.index(), row = block * kBlockN;
      ptx::wait(shared.k_empty[i], stage.parity() ^ 1);
      if (leader) load_tile(shared.k[i], arguments.k, shared.k_full[i], part.head, row, part.slot);
      ptx::wait(shared.v_empty[i], stage.parity() ^ 1);
      const bool is_ragged = part.keys - row < kBlockN;
      Barrier& loaded = is_ragged ? shared.v_loaded : shared.v_full[i];
      if (leader) load_tile(shared.v[i], arguments.v, loaded, part.head, row, part.slot);
      if (!is_ragged) continue;
      ptx::wait(shared.v_loaded, cleared++ % 2);
      clear_rows(shared.v[i], part.keys - row, lane);
      if (leader) ptx::arrive(shared.v_full[i]);
    }
  }
}

// What a consumer's thread holds of its warpgroup's 64 queries: fragments (ptx/swizzle.h) of two rows.
struct Rows {
  float weighted[64];
  float maximum[2], total[2];  // the total is over this thread's own columns
};

// Starts S = Q K^T.
__device__ void start_scores(float (&scores)[64], uint32_t q, uint32_t k) {
  ptx::wgmma_fence();
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step) {
    const uint32_t offset = step / 4 * Tile::kHalfBytes + step % 4 * 32;
    ptx::wgmma_shared(scores, ptx::matrix_descriptor(q + offset, 0, kEightRows),
                      ptx::matrix_descriptor(k + offset, 0, kEightRows), step > 0);
  }
  ptx::wgmma_commit();
}

// Starts O = P V, or O += P V.
__device__ void start_values(float (&weighted)[64], uint32_t (&weights)[32], uint32_t v, bool add) {
  ptx::pin(weighted);
  ptx::pin(weights);
  ptx::wgmma_fence();
#pragma unroll
  for (int step = 0; step < kBlockN / 16; ++step)
    ptx::wgmma_registers(weighted, weights + 4 * step,
                         ptx::matrix_descriptor(v + step * 2 * kEightRows, Tile::kHalfBytes, kEightRows),
                         add || step > 0);
  ptx::wgmma_commit();
}

__device__ void mask_scores(float (&scores)[64], int keys, int thread) {
#pragma unroll
  for (int i = 0; i < 64; ++i)
    if (ptx::fragment_column(thread, i) >= keys) scores[i] = -INFINITY;
}

// From scores to weights, in place; returns in `correction` what the results so far must be scaled by.
__device__ void softmax(float (&scores)[64], Rows& rows, float (&correction)[2]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float highest = -INFINITY;
#pragma unroll
    for (int i = 0; i < 64; ++i)
      if (i / 2 % 2 == r) highest = fmaxf(highest, scores[i]);
    highest = fmaxf(highest, ptx::shuffle_xor(highest, 1));
    highest = fmaxf(highest, ptx::shuffle_xor(highest, 2));
    highest = fmaxf(rows.maximum[r], highest * kScale);
    correction[r] = ptx::exp2(rows.maximum[r] - highest);
    rows.maximum[r] = highest;
    rows.total[r] *= correction[r];
#pragma unroll
    for (int i = 0; i < 64; ++i)
      if (i / 2 % 2 == r) {
        scores[i] = ptx::exp2(fmaf(scores[i], kScale, -highest));
        rows.total[r] += scores[i];
      }
  }
}

__device__ void pack_weights(uint32_t (&weights)[32], const float (&scores)[64]) {
#pragma unroll
  for (int i = 0; i < 32; ++i) weights[i] = ptx::pack_bf16(scores[2 * i], scores[2 * i + 1]);
}

// A warp has read a tile; the producer may fill it again when all warps have.
__device__ void release(Barrier& empty, int lane) {
  __syncwarp();
  if (lane == 0) ptx::arrive(empty);
}

// Whose turn it is to start products, if the consumers take turns. Each has a barrier that the other one comes to when
// it has had its turn. Both have as many blocks, and consumer 0 waits once more at its end, so that nothing is left
// over.
template <bool kPingPong>
struct Turns {
  static constexpr int kThreadsOfBoth = 128 * kConsumers;
  int consumer;

  __device__ void begin() const {
    if (consumer == 1) pass();
  }
  __device__ void take() const {
    if constexpr (kPingPong) ptx::barrier_sync<kThreadsOfBoth>(1 + consumer);
  }
  __device__ void pass() const {
    if constexpr (kPingPong) ptx::barrier_arrive<kThreadsOfBoth>(2 - consumer);
  }
  __device__ void end() const {
    if (consumer == 0) take();
  }
};

// All blocks of a part, for the 64 queries from q on.
template <bool kPingPong>
__device__ void attend(const Part& part, Shared& shared, uint32_t q, Stage& stage, Rows& rows,
                       const Turns<kPingPong>& turns, int thread) {
  const int lane = thread % 32;
  float scores[64], correction[2];
  uint32_t weights[32];
  for (int block = part.first; block < part.last; ++block, ++stage.count) {
    const int i = stage.index(), before = (stage.count + kStages - 1) % kStages;
    const bool is_first = block == part.first;
    ptx::wait(shared.k_full[i], stage.parity());
    turns.take();
    start_scores(scores, q, ptx::shared_address(shared.k[i].bytes));
    if (is_first) {
      turns.pass();
      ptx::wgmma_wait<0>();
    } else {
      ptx::wait(shared.v_full[before], Stage{stage.count - 1}.parity());
      start_values(rows.weighted, weights, ptx::shared_address(shared.v[before].bytes), block > part.first + 1);
      turns.pass();
      ptx::wgmma_wait<1>();
    }
    ptx::pin(scores);
    release(shared.k_empty[i], lane);
    if (part.keys - block * kBlockN < kBlockN) mask_scores(scores, part.keys - block * kBlockN, thread);
    softmax(scores, rows, correction);
    if (!is_first) {
      ptx::wgmma_wait<0>();
      ptx::pin(rows.weighted);
      release(shared.v_empty[before], lane);
#pragma unroll
      for (int j = 0; j < 64; ++j) rows.weighted[j] *= correction[j / 2 % 2];
    }
    pack_weights(weights, scores);
  }
  release(shared.q_empty, lane);
  const int last = (stage.count + kStages - 1) % kStages;
  ptx::wait(shared.v_full[last], Stage{stage.count - 1}.parity());
  start_values(rows.weighted, weights, ptx::shared_address(shared.v[last].bytes), part.last > part.first + 1);
  ptx::wgmma_wait<0>();
  ptx::pin(rows.weighted);
  release(shared.v_empty[last], lane);
}

// The output of a tile whose keys were all here.
__device__ void store_output(const Arguments& arguments, const Part& part, const Rows& rows, int first_row,
                             int thread) {
  const Shape& shape = arguments.shape;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int query = part.query_tile * kBlockM + first_row + ptx::fragment_row(thread, 2 * r);
    if (query >= shape.queries) continue;
    const int64_t row = (static_cast<int64_t>(part.slot) * shape.queries + query) * shape.heads + part.head;
    const float factor = 1.0f / rows.total[r];
#pragma unroll
    for (int i = 2 * r; i < 64; i += 4)
      arguments.out[(row * kHeadDim + ptx::fragment_column(thread, i)) / 2] =
          ptx::pack_bf16(rows.weighted[i] * factor, rows.weighted[i + 1] * factor);
  }
}

// What merge_attention needs of a tile that other blocks share.
__device__ void store_partial(const Arguments& arguments, int place, const Rows& rows, int first_row, int thread) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = first_row + ptx::fragment_row(thread, 2 * r);
    float* weighted = arguments.partial + (static_cast<int64_t>(place) * kBlockM + row) * kHeadDim;
#pragma unroll
    for (int i = 2 * r; i < 64; i += 4)
      *reinterpret_cast<float2*>(weighted + ptx::fragment_column(thread, i)) =
          float2{rows.weighted[i], rows.weighted[i + 1]};
    if (thread % 4 != 0) continue;
    float* stats = arguments.partial_stats + place * 2 * kBlockM + row;
    stats[0] = rows.maximum[r];
    stats[kBlockM] = rows.total[r];
  }
}

// A consumer: 64 queries of every tile. thread: its number in the warpgroup.
template <bool kPingPong>
__device__ void consume(const Arguments& arguments, Shared& shared, int consumer, int thread) {
  const int first_row = consumer * kConsumerRows;
  const uint32_t q = ptx::shared_address(shared.q.bytes) + first_row * kRowBytes;
  const Turns<kPingPong> turns{consumer};
  Stage stage;
  int tiles = 0;
  turns.begin();
  for (Parts parts(arguments); parts.next(); ++tiles) {
    Rows rows;
#pragma unroll
    for (int r = 0; r < 2; ++r) rows.maximum[r] = -INFINITY, rows.total[r] = 0.0f;
    ptx::wait(shared.q_full, tiles % 2);
    attend(parts.part, shared, q, stage, rows, turns, thread);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      rows.total[r] += ptx::shuffle_xor(rows.total[r], 1);
      rows.total[r] += ptx::shuffle_xor(rows.total[r], 2);
    }
    if (parts.part.is_whole())
      store_output(arguments, parts.part, rows, first_row, thread);
    else
      store_partial(arguments, parts.part.place(blockIdx.x), rows, first_row, thread);
  }
  turns.end();
}

__device__ void init_barriers(Shared& shared) {
  const auto init_pair = [](Barrier& full, Barrier& empty) {
    ptx::init(full, 1);
    ptx::init(empty, kConsumerWarps);
  };
  init_pair(shared.q_full, shared.q_empty);
  for (int i = 0; i < kStages; ++i) {
    init_pair(shared.k_full[i], shared.k_empty[i]);
    init_pair(shared.v_full[i], shared.v_empty[i]);
  }
  ptx::init(shared.v_loaded, 1);
  ptx::fence_init();
}

// What each thread of a block does.
template <bool kPingPong>
__device__ void run(const Arguments& arguments) {
  Shared& shared = *reinterpret_cast<Shared*>(ptx::dynamic_shared());
  if (threadIdx.x == 0) init_barriers(shared);
  __syncthreads();
  const int warpgroup = ptx::uniform(threadIdx.x / 128);
  if (warpgroup == 0) {
    ptx::fewer_registers<kProducerRegisters>();
    if (threadIdx.x < 32) produce(arguments, shared, threadIdx.x);
  } else {
    ptx::more_registers<kConsumerRegisters>();
    consume<kPingPong>(arguments, shared, warpgroup - 1, threadIdx.x % 128);
  }
}

}  // namespace
}  // namespace penstock::attention

#ifdef __CUDACC__
// Grid (P), P = number of multiprocessors. q, k_cache, v_cache: tensors (D, H, rows of a slot, S), boxes (64, 1, 128,
// 1), swizzled. Parameters otherwise as rolling_attention_kernel of kernels/rolling_attention.py.
extern "C" __global__ __launch_bounds__(penstock::attention::kThreads, 1) void rolling_attention_sm90(
    const __grid_constant__ penstock::TensorMap q, const __grid_constant__ penstock::TensorMap k_cache,
    const __grid_constant__ penstock::TensorMap v_cache, const int* ring_length, uint32_t* out, float* partial,
    float* partial_stats, int slots, int queries, int capacity, int frame_tokens, int heads) {
  using namespace penstock::attention;
  const Shape shape{slots, queries, capacity, frame_tokens, heads};
  const Arguments arguments{q, k_cache, v_cache, ring_length, out, partial, partial_stats, shape};
  run<PENSTOCK_PING_PONG != 0>(arguments);
}
#endif
