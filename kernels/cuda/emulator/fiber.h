// A stack of its own for each emulated thread, and switching between them, known to
// the sanitizers.
#pragma once

#include <cstddef>
#include <memory>

namespace inferd::cuda::emulator {

// Where a flow of control stands while it does not run.
struct Context {
  void* stack_pointer = nullptr;
  void* portable = nullptr;  // ucontext_t, where there is no assembly
  // For the sanitizers.
  const void* stack_bottom = nullptr;
  size_t stack_bytes = 0;
  void* fake_stack = nullptr;
  void* race_fiber = nullptr;
};

// A stack with a page before it that must not be touched. Used by one thread.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next switch to context() calls entry(), which never returns. What the stack
  // held is forgotten.
  void Prepare(void (*entry)());
  Context& context() { return context_; }

 private:
  unsigned char* memory_ = nullptr;
  [[maybe_unused]] int uses_ = 0;
  Context context_;
};

// Saves the running flow to `from` and goes on with `to`. `last`: `from` will not be
// gone on with.
void Switch(Context& from, Context& to, bool last);
// The first thing entry() does; `from` is who switched to it.
void Entered(Context& self, Context& from);
// The context of the thread's own stack, once per use.
void AdoptThread(Context& context);

// The race detector: what was released at an address happens before what acquires it.
void RaceRelease(const void* address);
void RaceAcquire(const void* address);
// Accesses in between are the emulator's own. No switch in between, but for a flow
// that is given up after EndRaceIgnored().
class RaceIgnored {
 public:
  RaceIgnored();
  ~RaceIgnored();
};
void EndRaceIgnored();

}  // namespace inferd::cuda::emulator
