// prompt.safetensors: the text embeddings of one prompt, as `penstock embed` and `penstock build --prompt` write them.
#pragma once

#include <string>
#include <vector>

#include "engine/tensor.h"

namespace penstock {

struct PromptEmbeddings {
  DType dtype = DType::kF32;
  Shape shape;  // [rows, text_dim]
  std::vector<char> data;
};

// Throws PENSTOCK_ERR_BAD_FILE where the file does not hold the one tensor prompt_embeddings.
PromptEmbeddings read_prompt_file(const std::string& path);

}  // namespace penstock
