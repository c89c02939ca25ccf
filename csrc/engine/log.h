// Log: a host's callback for what an engine and its sessions have to say; silent without one.
#pragma once

#include "engine/error.h"

namespace penstock {

class Log {
 public:
  Log() = default;
  Log(penstock_log_callback callback, void* user) : callback_(callback), user_(user) {}

  template <typename... Parts>
  void operator()(penstock_log_level level, const Parts&... parts) const noexcept {
    if (!callback_) return;
    try {
      callback_(level, cat("penstock: ", parts...).c_str(), user_);
    } catch (...) {  // no memory for the text, or a callback that throws: the work goes on without
    }
  }

 private:
  penstock_log_callback callback_ = nullptr;
  void* user_ = nullptr;
};

}  // namespace penstock
