#pragma once

#include "app/command_line.h"

namespace inferd::app {

// `inferd key new`: to standard output, the secret as the first line, then the lines
// for the key file. `inferd key check FILE`: one line, or what is wrong with the file
// on standard error and kExitConfig.
int RunKey(const KeyArguments& arguments);

}  // namespace inferd::app
