// What tests may ask of the runtime that takes the place of CUDA's in their program.
#pragma once

#include <string>
#include <vector>

namespace inferd::cuda {

// The kernels linked into the program whose code nobody has asked for, by their names in PTX.
std::vector<std::string> KernelsNotLoaded();

}  // namespace inferd::cuda
