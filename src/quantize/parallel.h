#pragma once

#include <cstdint>
#include <functional>

namespace inferd::quantize {

// Calls body(begin, end) for parts that cover [0, count), on up to `threads`
// threads, and returns when all are done. The parts must not depend on each other.
void ParallelFor(int threads, int64_t count, const std::function<void(int64_t, int64_t)>& body);

}  // namespace inferd::quantize
