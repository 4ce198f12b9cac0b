#pragma once

namespace inferd::app {

// `inferd rank N`: the process of one rank, run by the daemon and by nobody else. N is
// the descriptor it was given. Returns the exit code.
int RunRank(int control_fd);

}  // namespace inferd::app
