// libFuzzer target: a plan's JSON text, through the C ABI.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "penstock/penstock.h"

namespace {

void require(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what.c_str());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const penstock_status status = penstock_check_plan(reinterpret_cast<const char*>(data), size);
  if (status == PENSTOCK_OK) return 0;
  const std::string message = penstock_last_error();
  const std::string answer = std::string(penstock_status_name(status)) + ": " + message;
  require(status == PENSTOCK_ERR_BAD_PLAN, "a malformed plan is reported as such, not as " + answer);
  require(!message.empty() && message.find('\n') == message.npos, "the message is one line, not " + answer);
  return 0;
}
