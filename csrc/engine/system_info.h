// What this library was built with, and what this machine offers.
#pragma once

#include "penstock/penstock.h"

namespace penstock {

penstock_system_info system_info();

}  // namespace penstock
