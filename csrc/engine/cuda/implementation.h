// PENSTOCK_IMPL: which of an op's implementations is to run, for comparisons: "rolling_attention=cuda,other_op=triton".
#pragma once

#include <string>
#include <string_view>

namespace penstock::cuda {

// What is asked for this op, or an empty string. Throws PENSTOCK_ERR_INVALID_ARGUMENT if the variable cannot be read or
// names an op that does not exist.
std::string wanted_implementation(std::string_view op);

}  // namespace penstock::cuda
