#include "engine/cuda/product_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <system_error>

#include "engine/error.h"
#include "engine/json.h"
#include "engine/mapped_file.h"

namespace penstock::cuda {
namespace {

constexpr int64_t kFormat = 1;
constexpr size_t kMostProducts = 4096;
constexpr size_t kMostBytes = size_t{4} << 20;
constexpr int64_t kMostRows = int64_t{1} << 40;

std::string hex_of(const MatmulAlgorithm& algorithm) {
  constexpr char kDigits[] = "0123456789abcdef";
  unsigned char bytes[sizeof algorithm];
  std::memcpy(bytes, &algorithm, sizeof bytes);
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte / 16];
    text += kDigits[byte % 16];
  }
  return text;
}

unsigned digit_of(const Json& text, char digit) {
  if (digit >= '0' && digit <= '9') return static_cast<unsigned>(digit - '0');
  if (digit >= 'a' && digit <= 'f') return static_cast<unsigned>(digit - 'a' + 10);
  text.fail("expected hexadecimal digits");
}

MatmulAlgorithm read_algorithm(const Json& value) {
  const std::string text = value.string();
  MatmulAlgorithm algorithm;
  unsigned char bytes[sizeof algorithm];
  if (text.size() != 2 * sizeof bytes) value.fail("expected ", 2 * sizeof bytes, " digits, got ", text.size());
  for (size_t i = 0; i < sizeof bytes; ++i)
    bytes[i] = static_cast<unsigned char>(16 * digit_of(value, text[2 * i]) + digit_of(value, text[2 * i + 1]));
  std::memcpy(&algorithm, bytes, sizeof bytes);
  return algorithm;
}

ProductShape read_shape(const Json& entry) {
  ProductShape shape;
  shape.m = entry.at("m").integer(1, kMostRows);
  shape.n = entry.at("n").integer(1, kMostRows);
  shape.k = entry.at("k").integer(1, kMostRows);
  shape.bias = entry.at("bias").boolean();
  shape.gelu = entry.at("gelu").boolean();
  shape.alignment = entry.at("alignment").integer(1, 256);
  return shape;
}

void expect(const Json& json, const char* key, int64_t expected) {
  const Json value = json.at(key);
  if (value.integer() != expected) value.fail("expected ", expected, ", got ", value.integer());
}

std::string bool_text(bool value) { return value ? "true" : "false"; }

std::string entry_text(const ProductShape& shape, const ProductChoice& choice) {
  return cat("{\"m\": ", shape.m, ", \"n\": ", shape.n, ", \"k\": ", shape.k, ", \"bias\": ", bool_text(shape.bias),
             ", \"gelu\": ", bool_text(shape.gelu), ", \"alignment\": ", shape.alignment, ",\n   \"algorithm\": \"",
             hex_of(choice.algorithm), "\", \"us\": ", choice.us ? cat(*choice.us) : "null", "}");
}

}  // namespace

std::string product_file_path(const std::string& directory, const ProductDevice& device) {
  return cat(directory, "/products-", device.name, "-sm", device.architecture, "-cublaslt", device.cublaslt, ".json");
}

ProductChoices read_product_file(const std::string& path, const ProductDevice& device) {
  if (access(path.c_str(), F_OK) != 0) return {};
  const MappedFile file(path);
  if (file.size() > kMostBytes) fail(PENSTOCK_ERR_BAD_FILE, path, ": larger than ", kMostBytes, " bytes");
  const Json json = parse_json({static_cast<const char*>(file.data()), file.size()}, path);
  expect(json, "format", kFormat);
  const Json name = json.at("device");
  if (name.string() != device.name) name.fail("expected ", device.name, ", got ", quoted(name.string()));
  expect(json, "architecture", device.architecture);
  expect(json, "multiprocessors", device.multiprocessors);
  expect(json, "cublaslt", device.cublaslt);
  const Json products = json.at("products");
  if (products.size() > kMostProducts) products.fail("more than ", kMostProducts);
  ProductChoices choices;
  for (const Json& entry : products.items()) {
    ProductChoice choice{read_algorithm(entry.at("algorithm")), std::nullopt};
    if (const Json us = entry.at("us"); us.kind() != Json::Kind::kNull) choice.us = us.real();
    if (!choices.emplace(read_shape(entry), choice).second) entry.fail("the product is there already");
  }
  return choices;
}

void write_product_file(const std::string& path, const ProductDevice& device, const ProductChoices& choices) {
  std::string text = cat(
      "{\"format\": ", kFormat, ", \"device\": \"", device.name, "\", \"architecture\": ", device.architecture,
      ", \"multiprocessors\": ", device.multiprocessors, ", \"cublaslt\": ", device.cublaslt, ",\n \"products\": [");
  const char* separator = "\n  ";
  for (const auto& [shape, choice] : choices) {
    text += separator + entry_text(shape, choice);
    separator = ",\n  ";
  }
  text += "]}\n";
  const std::string unfinished = cat(path, ".", getpid(), ".part");  // renaming leaves readers a whole file
  errno = 0;
  std::ofstream file(unfinished, std::ios::binary);
  file << text;
  file.close();
  if (!file || std::rename(unfinished.c_str(), path.c_str()) != 0) {
    const int code = errno;
    std::remove(unfinished.c_str());
    fail(PENSTOCK_ERR_BAD_FILE, path, ": cannot write: ", std::generic_category().message(code));
  }
}

}  // namespace penstock::cuda
