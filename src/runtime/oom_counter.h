#pragma once

#include <cstdint>
#include <string>

namespace inferd::runtime {

// How often the kernel has killed for lack of memory: in this process's control group,
// or where that tells nothing, on the machine. Compared before and after a death by
// SIGKILL, it says who killed. 0 when unknown.
int64_t CountOomKills(const std::string& root = "/");

}  // namespace inferd::runtime
