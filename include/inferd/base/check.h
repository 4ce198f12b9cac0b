// INFERD_CHECK: for what cannot happen. Input never reaches a check.
#pragma once

namespace inferd::internal {
// Prints the message to stderr and aborts. Any thread.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);
}  // namespace inferd::internal

#define INFERD_CHECK(condition)                                        \
  do {                                                                 \
    if (!(condition)) [[unlikely]]                                     \
      ::inferd::internal::CheckFailed(__FILE__, __LINE__, #condition); \
  } while (false)

#ifdef NDEBUG
#define INFERD_DCHECK(condition) \
  do {                           \
  } while (false)
#else
#define INFERD_DCHECK(condition) INFERD_CHECK(condition)
#endif
