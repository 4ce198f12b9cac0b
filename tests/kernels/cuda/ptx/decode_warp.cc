// Instructions in which the lanes of a mask meet: shfl, vote, bar.warp, redux, activemask.
#include <algorithm>
#include <bit>

#include "kernels/cuda/ptx/lanewise.h"

namespace inferd::cuda::ptx {
namespace {

enum class Mode : uint8_t { kUp, kDown, kButterfly, kIndex };

// slots: d, the predicate or none, a, b, c. c is a clamp in its lower five bits and a
// mask that splits the warp in the bits from 8 on.
template <Mode kMode>
void Shuffle(Warp& warp, const Instruction& i, uint32_t lanes) {
  const auto* a = warp.Lanes<uint32_t>(i.slots[2]);
  const auto* b = warp.Lanes<uint32_t>(i.slots[3]);
  const auto* c = warp.Lanes<uint32_t>(i.slots[4]);
  uint32_t values[kLanes] = {};
  bool in_range[kLanes] = {};
  for (int lane = 0; lane < static_cast<int>(kLanes); ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    const int distance = static_cast<int>(b[lane] & 31);
    const int clamp = static_cast<int>(c[lane] & 31);
    const int segment = static_cast<int>(c[lane] >> 8 & 31);
    const int last = (lane & segment) | (clamp & ~segment);
    const int first = lane & segment;
    int from = lane;
    bool in = false;
    switch (kMode) {
      case Mode::kUp:
        from = lane - distance;
        in = from >= last;
        break;
      case Mode::kDown:
        from = lane + distance;
        in = from <= last;
        break;
      case Mode::kButterfly:
        from = lane ^ distance;
        in = from <= last;
        break;
      case Mode::kIndex:
        from = first | (distance & ~segment);
        in = from <= last;
        break;
    }
    if (!in) from = lane;
    if ((lanes >> from & 1) == 0) {
      warp.Fail(i, static_cast<unsigned>(lane), "a shuffle reads a lane that takes no part");
      return;
    }
    values[lane] = a[from];
    in_range[lane] = in;
  }
  auto* d = warp.Lanes<uint32_t>(i.slots[0]);
  uint8_t* p = i.slots[1] == kNoSlot ? nullptr : warp.Lanes<uint8_t>(i.slots[1]);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    d[lane] = values[lane];
    if (p != nullptr) p[lane] = in_range[lane] ? 1 : 0;
  }
}

void TakeMask(Decoder& d) { d.instruction().mask = d.SourceSlot(d.TakeOperand(), Type::kB32); }

void DecodeShuffle(Decoder& d) {
  Instruction& i = d.instruction();
  if (!d.Skip("sync")) d.Fail(".sync is missing");
  if (d.Skip("up")) {
    i.execute = &Shuffle<Mode::kUp>;
  } else if (d.Skip("down")) {
    i.execute = &Shuffle<Mode::kDown>;
  } else if (d.Skip("bfly")) {
    i.execute = &Shuffle<Mode::kButterfly>;
  } else if (d.Skip("idx")) {
    i.execute = &Shuffle<Mode::kIndex>;
  } else {
    d.Fail("a mode that is not known");
  }
  if (!d.Skip("b32")) d.Fail("not .b32");
  Operand destination = d.TakeOperand();
  const Slot predicate = destination.has_second ? destination.second : kNoSlot;
  destination.has_second = false;
  d.Put(d.RegisterSlot(destination, Type::kB32));
  d.Put(predicate);
  for (int k = 0; k < 3; ++k) d.Source(Type::kB32);
  TakeMask(d);
  i.flow = Flow::kGather;
}

enum class Ask : uint8_t { kBallot, kAny, kAll, kUniform };

// slots: d, the predicate. number: 1 if that is negated.
template <Ask kAsk>
void Vote(Warp& warp, const Instruction& i, uint32_t lanes) {
  const auto* p = warp.Lanes<uint8_t>(i.slots[1]);
  uint32_t votes = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    votes |= static_cast<uint32_t>((p[lane] != 0) != (i.number != 0)) << lane;
  }
  votes &= lanes;
  const bool all = votes == lanes;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    if (kAsk == Ask::kBallot) {
      warp.Lanes<uint32_t>(i.slots[0])[lane] = votes;
    } else {
      const bool any = votes != 0;
      const bool result = kAsk == Ask::kAny ? any : kAsk == Ask::kAll ? all : all || !any;
      warp.Lanes<uint8_t>(i.slots[0])[lane] = result ? 1 : 0;
    }
  }
}

void DecodeVote(Decoder& d) {
  Instruction& i = d.instruction();
  if (!d.Skip("sync")) d.Fail(".sync is missing");
  const bool ballot = d.Skip("ballot");
  if (ballot) {
    i.execute = &Vote<Ask::kBallot>;
  } else if (d.Skip("any")) {
    i.execute = &Vote<Ask::kAny>;
  } else if (d.Skip("all")) {
    i.execute = &Vote<Ask::kAll>;
  } else if (d.Skip("uni")) {
    i.execute = &Vote<Ask::kUniform>;
  }
  if (!d.Skip(ballot ? "b32" : "pred")) d.Fail("a type that is not known");
  d.Destination(ballot ? Type::kB32 : Type::kPred);
  d.Predicate();
  TakeMask(d);
  i.flow = Flow::kGather;
}

struct Sum {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
  }
};
struct Least {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Most {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};

template <class Fn, class T>
void Reduce(Warp& warp, const Instruction& i, uint32_t lanes) {
  const T* a = warp.Lanes<T>(i.slots[1]);
  T result = a[std::countr_zero(lanes)];
  for (uint32_t rest = lanes & (lanes - 1); rest != 0; rest &= rest - 1) {
    result = Fn{}(result, a[std::countr_zero(rest)]);
  }
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    warp.Lanes<T>(i.slots[0])[std::countr_zero(rest)] = result;
  }
}

void DecodeReduce(Decoder& d) {
  Instruction& i = d.instruction();
  if (!d.Skip("sync")) d.Fail(".sync is missing");
  const bool add = d.Skip("add");
  const bool min = !add && d.Skip("min");
  if (!add && !min && !d.Skip("max")) d.Fail("an operation that is not known");
  const Type type = d.TakeType();
  d.Destination(type);
  d.Source(type);
  TakeMask(d);
  i.flow = Flow::kGather;
  if (type != Type::kU32 && type != Type::kS32) d.Fail("a type that is not known");
  i.execute = ForInteger(type, [&]<class T>(T) -> Execute {
    if constexpr (sizeof(T) == 4) {
      return add ? &Reduce<Sum, T> : min ? &Reduce<Least, T> : &Reduce<Most, T>;
    } else {
      return nullptr;
    }
  });
}

void ActiveMask(Warp& warp, const Instruction& i, uint32_t lanes) {
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    warp.Lanes<uint32_t>(i.slots[0])[std::countr_zero(rest)] = lanes;
  }
}

void Nothing(Warp& /*warp*/, const Instruction& /*i*/, uint32_t /*lanes*/) {}

}  // namespace

bool DecodeWarp(Decoder& d) {
  Instruction& i = d.instruction();
  if (d.opcode() == "shfl") {
    DecodeShuffle(d);
  } else if (d.opcode() == "vote") {
    DecodeVote(d);
  } else if (d.opcode() == "redux") {
    DecodeReduce(d);
  } else if (d.opcode() == "activemask") {
    if (!d.Skip("b32")) d.Fail("not .b32");
    d.Destination(Type::kB32);
    i.execute = &ActiveMask;
  } else if (d.opcode() == "bar" && d.Skip("warp")) {
    if (!d.Skip("sync")) d.Fail(".sync is missing");
    TakeMask(d);
    i.flow = Flow::kGather;
    i.execute = &Nothing;
  } else {
    return false;
  }
  if (i.execute == nullptr) d.Fail("not known");
  return true;
}

}  // namespace inferd::cuda::ptx
