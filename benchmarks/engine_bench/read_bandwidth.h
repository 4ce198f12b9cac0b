#pragma once

#include <cstddef>

namespace inferd::bench {

// Bytes per second that `threads` threads together read from memory, each over
// a part of its own of `bytes` bytes (far above every cache). The best of
// `passes`: what the machine can do, not what its other users left.
double MeasureReadBandwidth(size_t bytes, int threads, int passes);

}  // namespace inferd::bench
