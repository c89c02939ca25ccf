// Step state on the CPU: values that a host can write, so they are checked before they become addresses.
#pragma once

#include "engine/error.h"
#include "engine/op.h"

namespace penstock {

// Element `index` of an i32 role, which must lie in [lowest, highest].
inline int64_t checked_state(const OpArgs& args, const char* role, int64_t index, int64_t lowest, int64_t highest) {
  const int64_t value = args.data<const int32_t>(role)[index];
  if (value < lowest || value > highest)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, args.contract->name, ": ", role, "[", index, "] is ", value, ", must be from ",
         lowest, " to ", highest);
  return value;
}

}  // namespace penstock
