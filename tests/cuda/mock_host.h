// What C++ hosts over the mock driver share.
#pragma once

#include "../embed/host.hpp"

extern "C" {
std::int64_t mock_count(const char*);
const char* mock_log();
}

// The host's exit status, when all of penstock's objects are gone.
inline int end_on_mock() {
  expect(mock_count("live handles") == 0 && mock_count("live allocations") == 0, "nothing is left");
  expect(mock_count("problems") == 0, "the driver found no fault");
  return problems != 0;
}
