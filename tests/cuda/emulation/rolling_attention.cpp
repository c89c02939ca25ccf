// The attention kernel for Hopper on emulated threads, and its deal, for tests/cuda/test_rolling_attention_sm90.py.
#include <stdexcept>

#include "ops/rolling_attention/choice.h"
#include "ops/rolling_attention/deal.h"
#include "ops/rolling_attention/rolling_attention_sm90.cu"
#include "ops/rolling_attention/tiled_tensor.h"
#include "run.h"

namespace {

using emulation::map_of;
using penstock::attention::Shape;

// The consumers took turns from the first one on, and no thread came to a barrier in vain.
void check_turns(bool ping_pong) {
  const auto& [barriers, order] = penstock::ptx::named_barriers();
  for (const auto& barrier : barriers)
    if (barrier.come != 0) throw std::runtime_error("a block ends within a turn");
  for (size_t i = 0; i < order.size(); ++i)
    if (order[i] != static_cast<int>(1 + i % 2)) throw std::runtime_error("not in turns");
  if (order.size() % 2 != ping_pong) throw std::runtime_error("a turn too many, or none");
}

}  // namespace

extern "C" {

// Runs the kernel on `programs` blocks; bf16 as its bits. Returns null or what went wrong.
const char* emulate_rolling_attention(const uint16_t* q, const uint16_t* k_cache, const uint16_t* v_cache,
                                      const int* ring_length, uint32_t* out, float* partial, float* partial_stats,
                                      const Shape* shape, int programs, unsigned seed, int eager, int ping_pong) {
  using namespace penstock::attention;
  const auto [slots, queries, capacity, frame_tokens, heads] = *shape;
  const penstock::TiledTensor tensors[] = {tiled(q, slots, queries, heads, kHeadDim),
                                           tiled(k_cache, slots, capacity, heads, kHeadDim),
                                           tiled(v_cache, slots, capacity, heads, kHeadDim)};
  const penstock::TensorMap maps[] = {map_of(tensors[0]), map_of(tensors[1]), map_of(tensors[2])};
  const Arguments arguments{maps[0], maps[1], maps[2], ring_length, out, partial, partial_stats, *shape};
  const auto kernel = [&] { ping_pong ? run<true>(arguments) : run<false>(arguments); };
  return emulation::run_kernel(kernel, kThreads, programs, sizeof(Shared) + 1024, seed, eager != 0,
                               [&] { check_turns(ping_pong != 0); });
}

// Writes the parts of every program as rows of (program, slot, head, query tile, first, last, blocks, place); returns
// their number, or -1 if there are more than `most`.
int deal_parts(const Shape* shape, const int* ring_length, int programs, int* rows, int most) {
  using namespace penstock::attention;
  const Deal<kBlockM, kBlockN> deal(*shape, ring_length);
  const int units = deal.units();
  int count = 0;
  for (int program = 0; program < programs; ++program) {
    const int end = first_unit(program + 1, units, programs);
    for (int unit = first_unit(program, units, programs); unit < end;) {
      if (count == most) return -1;
      const Part part = deal.part(unit, end);
      const int row[] = {program,    part.slot, part.head,   part.query_tile,
                         part.first, part.last, part.blocks, part.is_whole() ? -1 : part.place(program)};
      std::copy(std::begin(row), std::end(row), rows + 8 * count++);
      unit += part.last - part.first;
    }
  }
  return count;
}

int deal_program_of(int unit, int units, int programs) {
  return penstock::attention::program_of(unit, units, programs);
}

// The implementation that is chosen, a colon, and why.
const char* choose_implementation(int architecture, int head_dim, int has_cuda_kernel, const char* wanted) {
  static std::string text;
  const auto [implementation, why] =
      penstock::attention::choose({architecture, head_dim, has_cuda_kernel != 0, wanted});
  text = std::string(implementation) + ": " + std::string(why);
  return text.c_str();
}

uint32_t swizzled_address(uint32_t address) { return penstock::ptx::swizzled(address); }
int fragment_row_of(int thread, int i) { return penstock::ptx::fragment_row(thread, i); }
int fragment_column_of(int thread, int i) { return penstock::ptx::fragment_column(thread, i); }
uint64_t descriptor_of(uint32_t address, uint32_t leading, uint32_t stride) {
  return penstock::ptx::matrix_descriptor(address, leading, stride);
}

}  // extern "C"
