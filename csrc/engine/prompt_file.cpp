#include "engine/prompt_file.h"

#include "engine/error.h"
#include "engine/safetensors.h"

namespace penstock {

PromptEmbeddings read_prompt_file(const std::string& path) {
  const Safetensors file(path);
  const SafetensorsEntry* entry = file.find("prompt_embeddings");
  if (!entry || file.entries().size() != 1)
    fail(PENSTOCK_ERR_BAD_FILE, path, ": expected the one tensor prompt_embeddings, got ", file.entries().size(),
         entry ? " tensors" : " others");
  if (!is_floating(entry->dtype) || entry->shape.size() != 2)
    fail(PENSTOCK_ERR_BAD_FILE, path, ": prompt_embeddings: expected [rows, text_dim] f32, bf16 or f16, got ",
         shape_text(entry->shape), " ", dtype_name(entry->dtype));
  const char* data = static_cast<const char*>(entry->data);
  return {entry->dtype, entry->shape, std::vector<char>(data, data + entry->bytes)};
}

}  // namespace penstock
