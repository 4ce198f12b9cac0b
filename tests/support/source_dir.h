#pragma once

#include <filesystem>

namespace inferd {

// The root of the source tree, where tests and benchmarks find goldens and models.
// One file knows it, so that all others compile the same wherever the tree lies.
std::filesystem::path SourceDir();

}  // namespace inferd
