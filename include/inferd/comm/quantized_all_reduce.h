#pragma once

#include <memory>

#include "inferd/comm/communicator.h"

namespace inferd {

// A communicator whose AllReduce sends 8-bit integers in blocks of kQuantizedBlock
// elements with an F32 scale, when a message has at least `min_bytes`; everything else
// goes to `inner`, which outlives it and is used by the same thread. All ranks give the
// same `min_bytes`. Each rank sums its part in F32 in the order of ranks and quantises
// the sum; all ranks, it too, take the quantised sums: the same bits everywhere.
//
// Error. Let a_r be the largest |x| of rank r in an element's block and A the sum of all
// a_r, not beyond a quarter of the largest F32. Rounding to a_r / 127 errs by a_r / 254
// at most, and rounding the sum, no larger than A, by A / 254: together A / 127, plus F32
// rounding (below (world_size + 4) * 2^-22 * A), plus 127 times the smallest normal F32
// per rank and once more, as blocks below that become zero; BF16 output adds half a unit
// in its last place. A block with a NaN or an infinity on any rank becomes all NaN.
inline constexpr int64_t kQuantizedBlock = 64;
std::unique_ptr<Communicator> MakeQuantizedAllReduce(Communicator& inner, int64_t min_bytes);

}  // namespace inferd
