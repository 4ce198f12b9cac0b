#pragma once

#include "app/command_line.h"

namespace inferd::app {

// `inferd quantize`: progress on standard error, one line and kExitFailure for
// what goes wrong.
int RunQuantize(const QuantizeArguments& arguments);

}  // namespace inferd::app
