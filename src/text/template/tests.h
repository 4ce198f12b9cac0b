// What may stand after "is", by name.
#pragma once

#include <string_view>

#include "text/template/arguments.h"

namespace inferd::chat_template {

// The number of a test; -1 for an unknown name.
int FindTest(std::string_view name);
StatusOr<bool> ApplyTest(Budget& budget, int test, const Value& input, const Arguments& arguments);

}  // namespace inferd::chat_template
