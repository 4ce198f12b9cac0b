#include "cuda/emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define INFERD_WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define INFERD_WITH_ASAN 1
#endif
#endif
// INFERD_WITH_TSAN comes from the build: this file itself is not instrumented.

#ifdef INFERD_WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef INFERD_WITH_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace inferd::cuda::emulator {
namespace {

// Fragments of a large tile are kilobytes, instrumented several times as much.
constexpr size_t kStackBytes = size_t{256} * 1024;

size_t PageBytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

#if defined(__x86_64__)

// The registers a function must preserve, and the stack. What is popped on the
// first switch was laid out by Prepare.
asm(R"(
.text
.type inferd_simt_switch, @function
inferd_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size inferd_simt_switch, .-inferd_simt_switch
)");
extern "C" void inferd_simt_switch(void** save, void* load);

#endif

Fiber::Fiber() {
  const size_t page = PageBytes();
  void* memory = mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) std::abort();
  memory_ = static_cast<unsigned char*>(memory);
  context_.stack_bottom = memory_ + page;
  context_.stack_bytes = kStackBytes;
#if !defined(__x86_64__)
  context_.portable = new ucontext_t;
#endif
}

Fiber::~Fiber() {
#ifdef INFERD_WITH_ASAN
  __asan_unpoison_memory_region(context_.stack_bottom, kStackBytes);
#endif
#ifdef INFERD_WITH_TSAN
  if (context_.race_fiber != nullptr) __tsan_destroy_fiber(context_.race_fiber);
#endif
#if !defined(__x86_64__)
  delete static_cast<ucontext_t*>(context_.portable);
#endif
  munmap(memory_, kStackBytes + PageBytes());
}

void Fiber::Prepare(void (*entry)()) {
#ifdef INFERD_WITH_ASAN
  // Of a flow that was given up, marks of its frames remain.
  __asan_unpoison_memory_region(context_.stack_bottom, kStackBytes);
  context_.fake_stack = nullptr;
#endif
#ifdef INFERD_WITH_TSAN
  // The detector's fiber is used for many flows, as making one is slow, but not for
  // ever: it keeps the frames that flows never returned from.
  constexpr int kUses = 1024;
  if (uses_++ % kUses == 0) {
    if (context_.race_fiber != nullptr) __tsan_destroy_fiber(context_.race_fiber);
    context_.race_fiber = __tsan_create_fiber(0);
  }
#endif
#if defined(__x86_64__)
  auto* top = reinterpret_cast<uintptr_t*>(memory_ + PageBytes() + kStackBytes);
  *--top = 0;  // entry's return address: there is none; aligns the stack as a call does
  *--top = reinterpret_cast<uintptr_t>(entry);
  for (int i = 0; i < 6; ++i) *--top = 0;
  context_.stack_pointer = top;
#else
  auto* portable = static_cast<ucontext_t*>(context_.portable);
  getcontext(portable);
  portable->uc_stack.ss_sp = memory_ + PageBytes();
  portable->uc_stack.ss_size = kStackBytes;
  portable->uc_link = nullptr;
  makecontext(portable, entry, 0);
#endif
}

void Switch(Context& from, Context& to, bool last) {
#ifdef INFERD_WITH_ASAN
  __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.stack_bottom,
                                 to.stack_bytes);
#endif
#ifdef INFERD_WITH_TSAN
  if (last) __tsan_release(&from);  // the next flow on this stack comes after
  __tsan_switch_to_fiber(to.race_fiber, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__x86_64__)
  inferd_simt_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(static_cast<ucontext_t*>(from.portable), static_cast<ucontext_t*>(to.portable));
#endif
#ifdef INFERD_WITH_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
  (void)last;
}

void Entered([[maybe_unused]] Context& self, [[maybe_unused]] Context& from) {
#ifdef INFERD_WITH_ASAN
  __sanitizer_finish_switch_fiber(self.fake_stack, &from.stack_bottom, &from.stack_bytes);
#endif
#ifdef INFERD_WITH_TSAN
  __tsan_acquire(&self);
#endif
}

void AdoptThread([[maybe_unused]] Context& context) {
#if !defined(__x86_64__)
  static thread_local ucontext_t own;
  context.portable = &own;
#endif
#ifdef INFERD_WITH_TSAN
  context.race_fiber = __tsan_get_current_fiber();
#endif
}

void RaceRelease([[maybe_unused]] const void* address) {
#ifdef INFERD_WITH_TSAN
  __tsan_release(const_cast<void*>(address));
#endif
}
void RaceAcquire([[maybe_unused]] const void* address) {
#ifdef INFERD_WITH_TSAN
  __tsan_acquire(const_cast<void*>(address));
#endif
}

#ifdef INFERD_WITH_TSAN
namespace {
int& IgnoredDepth() {
  static thread_local int depth = 0;
  return depth;
}
}  // namespace
RaceIgnored::RaceIgnored() {
  if (IgnoredDepth()++ > 0) return;
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
RaceIgnored::~RaceIgnored() {
  if (--IgnoredDepth() > 0) return;
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
void EndRaceIgnored() {
  if (IgnoredDepth() == 0) return;
  IgnoredDepth() = 0;
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
#else
RaceIgnored::RaceIgnored() = default;
RaceIgnored::~RaceIgnored() = default;
void EndRaceIgnored() {}
#endif

}  // namespace inferd::cuda::emulator
