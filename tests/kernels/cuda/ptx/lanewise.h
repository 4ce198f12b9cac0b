// Instructions that do the same for each lane, from registers to registers.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/cuda/ptx/decoder.h"
#include "kernels/cuda/ptx/warp.h"

namespace inferd::cuda::ptx {

// d = Fn{}(s...) for each lane: slots[0] is d, then come the sources. Lanes that are not
// named are computed as well and keep what they had, so no Fn may trap.
template <class Fn, class D, class... S>
struct Lanewise {
  template <size_t... k>
  static void Compute(Warp& warp, const Instruction& i, D (&out)[kLanes],
                      std::index_sequence<k...> /*sources*/) {
    const auto each = [&](const S*... from) {
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        out[lane] = static_cast<D>(Fn{}(from[lane]...));
      }
    };
    each(warp.Lanes<S>(i.slots[1 + k])...);
  }
  static void Run(Warp& warp, const Instruction& i, uint32_t lanes) {
    D out[kLanes];
    Compute(warp, i, out, std::index_sequence_for<S...>());
    D* d = warp.Lanes<D>(i.slots[0]);
    if (lanes == kEveryLane) {
      std::memcpy(d, out, sizeof(out));
      return;
    }
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      if ((lanes >> lane & 1) != 0) d[lane] = out[lane];
    }
  }
};

// visit(T{}) with the C++ type of an integer's or a float's; null for others.
template <class Visit>
Execute ForInteger(Type type, Visit visit) {
  switch (type) {
    case Type::kU16:
      return visit(uint16_t{});
    case Type::kS16:
      return visit(int16_t{});
    case Type::kU32:
      return visit(uint32_t{});
    case Type::kS32:
      return visit(int32_t{});
    case Type::kU64:
      return visit(uint64_t{});
    case Type::kS64:
      return visit(int64_t{});
    default:
      return nullptr;
  }
}
template <class Visit>
Execute ForBits(Type type, Visit visit) {
  switch (type) {
    case Type::kPred:
      return visit(uint8_t{});
    case Type::kB16:
      return visit(uint16_t{});
    case Type::kB32:
      return visit(uint32_t{});
    case Type::kB64:
      return visit(uint64_t{});
    default:
      return nullptr;
  }
}
template <class Visit>
Execute ForFloat(Type type, Visit visit) {
  if (type == Type::kF32) return visit(float{});
  if (type == Type::kF64) return visit(double{});
  return nullptr;
}

}  // namespace inferd::cuda::ptx
