// Philox4x32-10 (Salmon et al., SC 2011) and the normal numbers that the streaming ops draw from it. Header-only and
// usable from CUDA, so that every backend draws the same noise.
//
// One draw is named by (seed, chunk, slot, purpose, element): the key is the seed, low word first; the counter is
// {element / 4, low word of chunk, high word of chunk, slot | purpose << 16}, and the element takes lane element % 4.
// Word w gives u = w / 2^32 + 1 / 2^33, where w and then the sum are rounded to float. Lanes 0 and 1 are sqrt(-2 ln u0)
// times cos and sin of 2 pi u1, for words 0 and 1; lanes 2 and 3 come from words 2 and 3 in the same way.
#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define PENSTOCK_HD __host__ __device__
#else
#define PENSTOCK_HD
#endif

namespace penstock {

enum class NoisePurpose : uint32_t { kInput = 0, kRenoise = 1 };

struct PhiloxWords {
  uint32_t word[4];
};

struct PhiloxNormals {
  float lane[4];
};

// Which row of noise: everything that names a draw but the element.
struct NoiseRow {
  uint64_t seed;
  int64_t chunk;
  uint32_t slot;  // below 65536
  NoisePurpose purpose;
};

PENSTOCK_HD inline PhiloxWords philox4x32(PhiloxWords counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * counter.word[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * counter.word[2];
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(product0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// In (0, 1]. Both products are by powers of two, so that fused multiply-add changes nothing.
PENSTOCK_HD inline float philox_uniform(uint32_t word) {
  return static_cast<float>(word) * 2.3283064365386963e-10f + 1.1641532182693481e-10f;
}

PENSTOCK_HD inline void box_muller(uint32_t word0, uint32_t word1, float* pair) {
  const float radius = sqrtf(-2.0f * logf(philox_uniform(word0)));
  const float angle = 6.283185307179586f * philox_uniform(word1);
  pair[0] = radius * cosf(angle);
  pair[1] = radius * sinf(angle);
}

// Elements 4 * quad to 4 * quad + 3 of a row of noise.
PENSTOCK_HD inline PhiloxNormals philox_normals(const NoiseRow& row, uint32_t quad) {
  const uint64_t chunk = static_cast<uint64_t>(row.chunk);
  const PhiloxWords counter{{quad, static_cast<uint32_t>(chunk), static_cast<uint32_t>(chunk >> 32),
                             row.slot | static_cast<uint32_t>(row.purpose) << 16}};
  const PhiloxWords words = philox4x32(counter, static_cast<uint32_t>(row.seed), static_cast<uint32_t>(row.seed >> 32));
  PhiloxNormals normals;
  box_muller(words.word[0], words.word[1], normals.lane);
  box_muller(words.word[2], words.word[3], normals.lane + 2);
  return normals;
}

}  // namespace penstock
