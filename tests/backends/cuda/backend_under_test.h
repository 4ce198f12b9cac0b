#pragma once

#include <memory>

#include "inferd/backends/backend.h"

namespace inferd::testing {

// The device backend that the program was linked for: emulated, or the installed one.
StatusOr<std::unique_ptr<Backend>> MakeBackendUnderTest();

}  // namespace inferd::testing
