#include "engine/cuda/implementation.h"

#include <algorithm>
#include <cstdlib>

#include "engine/error.h"
#include "engine/op.h"

namespace penstock::cuda {

std::string wanted_implementation(std::string_view op) {
  const char* variable = std::getenv("PENSTOCK_IMPL");
  std::string_view rest = variable ? variable : "";
  std::string wanted;
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
    const size_t equals = entry.find('=');
    if (equals == std::string_view::npos || !find_op(entry.substr(0, equals)))
      fail(PENSTOCK_ERR_INVALID_ARGUMENT, "PENSTOCK_IMPL: expected a list of op=implementation, got '",
           std::string(entry), "'");
    if (entry.substr(0, equals) == op) wanted = entry.substr(equals + 1);
  }
  return wanted;
}

}  // namespace penstock::cuda
