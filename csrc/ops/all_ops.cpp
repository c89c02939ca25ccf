// The registry of ops.
#include "ops/advance_frames/advance_frames.h"
#include "ops/cache_write/cache_write.h"
#include "ops/causal_conv3d/causal_conv3d.h"
#include "ops/cross_attention/cross_attention.h"
#include "ops/gate_residual_layernorm/gate_residual_layernorm.h"
#include "ops/gemm/gemm.h"
#include "ops/latents_to_tensor/latents_to_tensor.h"
#include "ops/layernorm_modulate/layernorm_modulate.h"
#include "ops/motion_noise/motion_noise.h"
#include "ops/noise_mix/noise_mix.h"
#include "ops/patchify/patchify.h"
#include "ops/qk_norm_rope_cache/qk_norm_rope_cache.h"
#include "ops/quantize_cache/quantize_cache.h"
#include "ops/rebase_keys/rebase_keys.h"
#include "ops/renoise/renoise.h"
#include "ops/replicate_slots/replicate_slots.h"
#include "ops/ring_advance/ring_advance.h"
#include "ops/ring_queue/ring_queue.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rms_silu/rms_silu.h"
#include "ops/rolling_attention/rolling_attention.h"
#include "ops/rolling_attention_fp8/rolling_attention_fp8.h"
#include "ops/sink_refresh/sink_refresh.h"
#include "ops/spatial_attention/spatial_attention.h"
#include "ops/tensor_to_latents/tensor_to_latents.h"
#include "ops/time_embed/time_embed.h"
#include "ops/unpatchify/unpatchify.h"

namespace penstock {

const std::vector<OpDefinition>& all_ops() {
  static const std::vector<OpDefinition> definitions{
      {&ops::kPatchify, ops::patchify_cpu, ops::patchify_cuda},
      {&ops::kUnpatchify, ops::unpatchify_cpu, ops::unpatchify_cuda},
      {&ops::kGemm, ops::gemm_cpu, ops::gemm_cuda},
      {&ops::kTimeEmbed, ops::time_embed_cpu, ops::time_embed_cuda},
      {&ops::kLayernormModulate, ops::layernorm_modulate_cpu, ops::layernorm_modulate_cuda},
      {&ops::kGateResidualLayernorm, ops::gate_residual_layernorm_cpu, ops::gate_residual_layernorm_cuda},
      {&ops::kRmsNorm, ops::rms_norm_cpu, ops::rms_norm_cuda},
      {&ops::kQkNormRopeCache, ops::qk_norm_rope_cache_cpu, ops::qk_norm_rope_cache_cuda},
      {&ops::kRollingAttention, ops::rolling_attention_cpu, ops::rolling_attention_cuda},
      {&ops::kQuantizeCache, ops::quantize_cache_cpu, ops::quantize_cache_cuda},
      {&ops::kRollingAttentionFp8, ops::rolling_attention_fp8_cpu, ops::rolling_attention_fp8_cuda},
      {&ops::kCrossAttention, ops::cross_attention_cpu, ops::cross_attention_cuda},
      {&ops::kNoiseMix, ops::noise_mix_cpu, ops::noise_mix_cuda},
      {&ops::kRenoise, ops::renoise_cpu, ops::renoise_cuda},
      {&ops::kRingAdvance, ops::ring_advance_cpu, ops::ring_advance_cuda},
      {&ops::kSinkRefresh, ops::sink_refresh_cpu, ops::sink_refresh_cuda},
      {&ops::kRingQueue, ops::ring_queue_cpu, ops::ring_queue_cuda},
      {&ops::kCacheWrite, ops::cache_write_cpu, ops::cache_write_cuda},
      {&ops::kRebaseKeys, ops::rebase_keys_cpu, ops::rebase_keys_cuda},
      {&ops::kReplicateSlots, ops::replicate_slots_cpu, ops::replicate_slots_cuda},
      {&ops::kMotionNoise, ops::motion_noise_cpu, ops::motion_noise_cuda},
      {&ops::kLatentsToTensor, ops::latents_to_tensor_cpu, ops::latents_to_tensor_cuda},
      {&ops::kTensorToLatents, ops::tensor_to_latents_cpu, ops::tensor_to_latents_cuda},
      {&ops::kCausalConv3d, ops::causal_conv3d_cpu, ops::causal_conv3d_cuda},
      {&ops::kRmsSilu, ops::rms_silu_cpu, ops::rms_silu_cuda},
      {&ops::kSpatialAttention, ops::spatial_attention_cpu, ops::spatial_attention_cuda},
      {&ops::kAdvanceFrames, ops::advance_frames_cpu, ops::advance_frames_cuda},
  };
  return definitions;
}

}  // namespace penstock
