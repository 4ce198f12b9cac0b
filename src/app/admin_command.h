#pragma once

#include "app/command_line.h"

namespace inferd::app {

// `inferd admin`: one call of the admin service; what it says, on standard output.
// Returns the exit code.
int RunAdmin(AdminArguments arguments);

}  // namespace inferd::app
