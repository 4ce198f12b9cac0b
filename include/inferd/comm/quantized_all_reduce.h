#pragma once

#include <cstdint>
#include <memory>

#include "inferd/comm/communicator.h"

namespace inferd {

// How blocks of kQuantizedBlock elements travel: an F32 scale, then a byte each.
enum class QuantizedFormat : uint8_t {
  kInt8,  // multiples of the scale, which is the block's largest / 127
  kFp8,   // E4M3 (no infinities, largest 448) times the scale, the block's largest / 448
};

// A communicator whose AllReduce sends such blocks, when a message has at least
// `min_bytes`; everything else goes to `inner`, which outlives it and is used by the same
// thread. All ranks give the same format and `min_bytes`. Each rank sums its part in F32
// in the order of ranks and quantises the sum; all ranks, it too, take the quantised sums:
// the same bits everywhere.
//
// Error. Let a_r be the largest |x| of rank r in an element's block, A the sum of all a_r,
// not beyond a quarter of the largest F32, and X the sum of the |x_r| of the element
// itself.
//   kInt8: rounding to a_r / 127 errs by a_r / 254 at most, and rounding the sum, no
//     larger than A, by A / 254: together A / 127. The same for every element of a block.
//   kFp8: rounding to three bits of mantissa errs by |x_r| / 16 at most, or by half of the
//     smallest step, a_r / 448 * 2^-10; the same again for the sum: together
//     X * (1/8 + 1/256) + A * 2^-17. More than kInt8 for the largest elements of a block
//     (A / 7.75 against A / 127), less for those below a sixteenth of it.
// Both plus F32 rounding (below (world_size + 4) * 2^-22 * A), plus 512 times the smallest
// normal F32 per rank and once more, as blocks below that become zero; BF16 output adds
// half a unit in its last place. A block with a NaN or an infinity on any rank becomes all
// NaN.
inline constexpr int64_t kQuantizedBlock = 64;
std::unique_ptr<Communicator> MakeQuantizedAllReduce(Communicator& inner, QuantizedFormat format,
                                                     int64_t min_bytes);

}  // namespace inferd
