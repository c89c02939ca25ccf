// The algorithms of matrix products that were chosen by measuring, kept in an engine directory, one file for each kind
// of device and version of cuBLASLt:
//
//   {"format": 1, "device": "NVIDIA-H100-80GB-HBM3", "architecture": 90, "multiprocessors": 132, "cublaslt": 130002,
//    "products": [{"m": 3120, "n": 1536, "k": 8960, "bias": true, "gelu": false, "alignment": 256,
//                  "algorithm": "<128 hexadecimal digits>", "us": 131.2}]}
//
// Nobody vouches for it. An algorithm's bytes are only ever compared with what cuBLASLt offers, never handed to it.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "engine/cuda/blas_lt.h"

namespace penstock::cuda {

// What the choices hold for.
struct ProductDevice {
  std::string name;  // letters, digits and hyphens
  int architecture = 0;
  int multiprocessors = 0;
  int64_t cublaslt = 0;
};

struct ProductChoice {
  MatmulAlgorithm algorithm{};
  std::optional<double> us;  // measured, of one product; nothing if that was not possible
};

using ProductChoices = std::map<ProductShape, ProductChoice>;

std::string product_file_path(const std::string& directory, const ProductDevice& device);

// Nothing if there is no file. Throws PENSTOCK_ERR_BAD_FILE if it is not what a device like this wrote.
ProductChoices read_product_file(const std::string& path, const ProductDevice& device);

// Replaces the file at once. Throws PENSTOCK_ERR_BAD_FILE, saying why, if that cannot be done.
void write_product_file(const std::string& path, const ProductDevice& device, const ProductChoices& choices);

}  // namespace penstock::cuda
