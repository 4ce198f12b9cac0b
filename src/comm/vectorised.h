// Plain loops, compiled for what the processor has.
#pragma once

#if defined(__x86_64__)
#define INFERD_COMM_HAS_WIDE 1
#endif

namespace inferd {

#if defined(INFERD_COMM_HAS_WIDE)
// The same loop with vectors twice as wide and the instructions that narrow and round.
// Without FMA, so that the bits are those of the plain one.
template <typename Loop, typename... Args>
__attribute__((target("avx2"))) void RunWide(Args... args) {
  Loop::Run(args...);
}
#endif

// Calls Loop::Run(args...), a static function that is [[gnu::always_inline]] and calls
// nothing that is not inline.
template <typename Loop, typename... Args>
void RunVectorised(Args... args) {
#if defined(INFERD_COMM_HAS_WIDE)
  if (__builtin_cpu_supports("avx2")) return RunWide<Loop>(args...);
#endif
  Loop::Run(args...);
}

}  // namespace inferd
