// The registry of ops.
#include "ops/cross_attention/cross_attention.h"
#include "ops/gate_residual_layernorm/gate_residual_layernorm.h"
#include "ops/gemm/gemm.h"
#include "ops/layernorm_modulate/layernorm_modulate.h"
#include "ops/noise_mix/noise_mix.h"
#include "ops/patchify/patchify.h"
#include "ops/qk_norm_rope_cache/qk_norm_rope_cache.h"
#include "ops/rebase_keys/rebase_keys.h"
#include "ops/renoise/renoise.h"
#include "ops/replicate_slots/replicate_slots.h"
#include "ops/ring_advance/ring_advance.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rolling_attention/rolling_attention.h"
#include "ops/time_embed/time_embed.h"
#include "ops/unpatchify/unpatchify.h"

namespace penstock {

const std::vector<OpDefinition>& all_ops() {
  static const std::vector<OpDefinition> definitions{
      {&ops::kPatchify, ops::patchify_cpu},
      {&ops::kUnpatchify, ops::unpatchify_cpu},
      {&ops::kGemm, ops::gemm_cpu},
      {&ops::kTimeEmbed, ops::time_embed_cpu},
      {&ops::kLayernormModulate, ops::layernorm_modulate_cpu},
      {&ops::kGateResidualLayernorm, ops::gate_residual_layernorm_cpu},
      {&ops::kRmsNorm, ops::rms_norm_cpu},
      {&ops::kQkNormRopeCache, ops::qk_norm_rope_cache_cpu},
      {&ops::kRollingAttention, ops::rolling_attention_cpu},
      {&ops::kCrossAttention, ops::cross_attention_cpu},
      {&ops::kNoiseMix, ops::noise_mix_cpu},
      {&ops::kRenoise, ops::renoise_cpu},
      {&ops::kRingAdvance, ops::ring_advance_cpu},
      {&ops::kRebaseKeys, ops::rebase_keys_cpu},
      {&ops::kReplicateSlots, ops::replicate_slots_cpu},
  };
  return definitions;
}

}  // namespace penstock
