// Error: the one exception of the engine. It carries the status that the C ABI returns and a one-line message.
#pragma once

#include <locale>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>

#include "penstock/penstock.h"

namespace penstock {

class Error : public std::runtime_error {
 public:
  Error(penstock_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  penstock_status status() const { return status_; }

 private:
  penstock_status status_;
};

// Concatenates anything that an ostream can print, without the digit grouping of a host's locale.
template <typename... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  (out << ... << parts);
  return out.str();
}

template <typename... Parts>
[[noreturn]] void fail(penstock_status status, const Parts&... parts) {
  throw Error(status, cat(parts...));
}

// Within a catch block: gives the current exception to handle(status, message).
template <typename Handler>
void with_current_exception(Handler&& handle) noexcept {
  try {
    throw;
  } catch (const Error& error) {
    handle(error.status(), error.what());
  } catch (const std::bad_alloc&) {
    handle(PENSTOCK_ERR_OUT_OF_MEMORY, "out of host memory");
  } catch (const std::exception& error) {
    handle(PENSTOCK_ERR_INTERNAL, error.what());
  } catch (...) {
    handle(PENSTOCK_ERR_INTERNAL, "unknown exception");
  }
}

}  // namespace penstock
