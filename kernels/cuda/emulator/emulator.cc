#include "cuda/emulator/emulator.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda/emulator/fiber.h"
#include "cuda/emulator/shared_memory.h"

namespace inferd::cuda::emulator {
namespace {

constexpr unsigned kMaxThreads = 1024;
constexpr unsigned kWarpThreads = 32;
// A block that switches this often waits for something that never comes.
constexpr uint64_t kMaxSwitches = 10'000'000;

struct PendingCopy {
  void* to;
  const void* from;
  size_t bytes;
  size_t valid;
  bool early;  // the source was read at the issue
  unsigned char data[16];
};

enum class State : uint8_t { kReady, kAtBarrier, kInWarp, kDone };

struct Thread {
  Fiber fiber;
  ThreadIndex index = {};
  State state = State::kReady;
  Place place = {};  // where it waits
  WarpOperation operation = {};
  const void* in = nullptr;
  void* out = nullptr;
  std::vector<std::vector<PendingCopy>> groups;  // committed
  std::vector<PendingCopy> copies;               // of the open group
};

// Everything about the launch that a thread runs.
class Machine {
 public:
  void SetSeed(uint64_t seed) { seed_ = seed; }
  const std::string& error() const { return error_; }

  int RunGrid(const LaunchShape& shape, void (*invoke)(const void*), const void* call);

  const ThreadIndex& Self() const { return running_->index; }
  // Takes the message, as its frame is given up.
  [[noreturn]] void Fail(std::string&& message, Place place);
  void MaybeYield() {
    if (Draw(2) == 0) Leave(State::kReady);
  }
  void BlockBarrier(Place place);
  void RunWarpOperation(const WarpOperation& operation, const void* in, void* out);
  void* SharedVariable(const void* tag, size_t bytes, size_t alignment);
  unsigned char* DynamicShared() { return shared_.dynamic(); }
  void AsyncCopy(const PendingCopy& copy, Place place);
  void AsyncCommit();
  void AsyncWait(unsigned pending);

  // The first frame of every emulated thread.
  [[noreturn]] void ThreadMain();

 private:
  unsigned Draw(unsigned n);  // 0 .. n - 1
  bool RunBlock(Dim3 block, unsigned num_threads);
  void ReportDeadlock();
  // Leaves the running thread, whose state is then `state`.
  void Leave(State state, bool last = false);
  void MakeReady(unsigned thread);

  uint64_t seed_ = 0;
  uint64_t random_ = 0;
  std::string error_;
  bool failed_ = false;

  LaunchShape shape_;
  void (*invoke_)(const void*) = nullptr;
  const void* call_ = nullptr;

  std::vector<std::unique_ptr<Thread>> threads_;  // kept from launch to launch
  unsigned num_threads_ = 0;                      // of the block
  unsigned num_done_ = 0;
  unsigned num_at_barrier_ = 0;
  unsigned barrier_phase_ = 0;
  std::vector<unsigned> ready_;
  Thread* running_ = nullptr;
  Context scheduler_;
  SharedMemory shared_;
  // What the race detector synchronises on: barriers in turn, as a thread may be
  // one barrier ahead of another.
  char barrier_objects_[2] = {};
  char launch_object_ = 0;  // what the host did before a launch happened before it
};

// Emulated threads find their machine here: device functions have no argument for it.
Machine& Current() {
  static thread_local Machine machine;
  return machine;
}

void Entry() { Current().ThreadMain(); }

unsigned Machine::Draw(unsigned n) {
  // SplitMix64.
  uint64_t z = random_ += 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return static_cast<unsigned>((z ^ (z >> 31)) >> 32) % n;
}

void Machine::Fail(std::string&& message, Place place) {
  const RaceIgnored own;
  if (!failed_) {
    failed_ = true;
    const ThreadIndex& self = running_->index;
    error_ = message + " (" + place.file + ":" + std::to_string(place.line) + ", block " +
             std::to_string(self.block.x) + "," + std::to_string(self.block.y) + "," +
             std::to_string(self.block.z) + ", thread " + std::to_string(self.linear) + ")";
  }
  std::string().swap(message);
  EndRaceIgnored();
  Leave(State::kDone, /*last=*/true);
  std::abort();
}

void Machine::Leave(State state, bool last) {
  running_->state = state;
  if (state == State::kReady) {
    ready_.push_back(running_->index.linear);
  }
  // For the host's accesses after the launch.
  RaceRelease(&num_done_);
  Switch(running_->fiber.context(), scheduler_, last);
}

void Machine::MakeReady(unsigned thread) {
  threads_[thread]->state = State::kReady;
  ready_.push_back(thread);
}

void Machine::ThreadMain() {
  Entered(running_->fiber.context(), scheduler_);
  RaceAcquire(&launch_object_);
  invoke_(call_);
  {
    const RaceIgnored own;
    if (!running_->copies.empty() || !running_->groups.empty()) {
      for (const auto& group : running_->groups) {
        if (!group.empty()) Fail("asynchronous copies are never waited for", running_->place);
      }
      if (!running_->copies.empty()) {
        Fail("asynchronous copies are never committed", running_->place);
      }
    }
    ++num_done_;
    // Those who have ended no longer count at a barrier.
    if (num_at_barrier_ > 0 && num_at_barrier_ + num_done_ == num_threads_) {
      Fail("a thread ends while others wait at a barrier", running_->place);
    }
  }
  Leave(State::kDone, /*last=*/true);
  std::abort();
}

void Machine::BlockBarrier(Place place) {
  running_->place = place;
  const char* object = &barrier_objects_[barrier_phase_ % 2];
  RaceRelease(object);
  {
    const RaceIgnored own;
    if (num_done_ > 0) Fail("a barrier after a thread of the block has ended", place);
    ++num_at_barrier_;
    running_->state = State::kAtBarrier;
    if (num_at_barrier_ == num_threads_) {
      for (unsigned t = 0; t < num_threads_; ++t) {
        const Place& other = threads_[t]->place;
        if (other.line != place.line || std::strcmp(other.file, place.file) != 0) {
          Fail(std::string("threads stand at different barriers, another at ") + other.file + ":" +
                   std::to_string(other.line),
               place);
        }
      }
      num_at_barrier_ = 0;
      ++barrier_phase_;
      for (unsigned t = 0; t < num_threads_; ++t) {
        if (threads_[t].get() != running_) MakeReady(t);
      }
    }
  }
  Leave(num_at_barrier_ == 0 ? State::kReady : State::kAtBarrier);
  RaceAcquire(object);
}

void Machine::RunWarpOperation(const WarpOperation& operation, const void* in, void* out) {
  Thread& self = *running_;
  const unsigned lane = self.index.linear % kWarpThreads;
  const unsigned first = self.index.linear - lane;
  if (operation.orders_memory) RaceRelease(&threads_[first]->operation);
  bool complete = true;
  {
    const RaceIgnored own;
    if ((operation.mask >> lane & 1) == 0) {
      Fail(std::string(operation.name) + ": the lane is not in its own mask", operation.place);
    }
    self.place = operation.place;
    self.operation = operation;
    self.in = in;
    self.out = out;
    self.state = State::kInWarp;
    WarpLanes lanes = {operation.mask, {}, {}};
    for (unsigned l = 0; l < kWarpThreads; ++l) {
      if ((operation.mask >> l & 1) == 0) continue;
      if (first + l >= num_threads_) {
        Fail(std::string(operation.name) + ": the mask names a lane that does not exist",
             operation.place);
      }
      const Thread& other = *threads_[first + l];
      if (other.state == State::kDone) {
        Fail(std::string(operation.name) + ": the mask names a lane that has ended",
             operation.place);
      }
      if (other.state != State::kInWarp) {
        complete = false;
        break;
      }
      if (other.operation.mask != operation.mask || other.place.line != operation.place.line ||
          std::strcmp(other.place.file, operation.place.file) != 0) {
        // A lane may be in an operation of another mask first and come later, but
        // one of this mask that stands elsewhere never will.
        if ((other.operation.mask >> lane & 1) != 0) {
          Fail(std::string(operation.name) + ": another lane of the mask is in " +
                   other.operation.name + " at " + other.place.file + ":" +
                   std::to_string(other.place.line),
               operation.place);
        }
        complete = false;
        break;
      }
      lanes.in[l] = other.in;
      lanes.out[l] = other.out;
    }
    if (complete) {
      const char* problem = operation.compute == nullptr ? nullptr : operation.compute(lanes);
      if (problem != nullptr) Fail(std::string(operation.name) + ": " + problem, operation.place);
      for (unsigned l = 0; l < kWarpThreads; ++l) {
        if ((operation.mask >> l & 1) != 0 && l != lane) MakeReady(first + l);
      }
    }
  }
  Leave(complete ? State::kReady : State::kInWarp);
  if (operation.orders_memory) RaceAcquire(&threads_[first]->operation);
}

void* Machine::SharedVariable(const void* tag, size_t bytes, size_t alignment) {
  const RaceIgnored own;
  void* variable = shared_.Variable(tag, bytes, alignment);
  if (variable == nullptr) Fail("more shared memory than a block has", running_->place);
  return variable;
}

void Machine::AsyncCopy(const PendingCopy& copy, Place place) {
  const auto misaligned = [&](const void* p) {
    return reinterpret_cast<uintptr_t>(p) % copy.bytes != 0;
  };
  running_->place = place;
  if (copy.valid > copy.bytes) Fail("an asynchronous copy of more than its size", place);
  if (misaligned(copy.to) || (copy.valid > 0 && misaligned(copy.from))) {
    Fail("a misaligned asynchronous copy", place);
  }
  PendingCopy pending = copy;
  pending.early = Draw(2) == 0;
  std::memset(pending.data, 0, sizeof(pending.data));
  if (pending.early) std::memcpy(pending.data, copy.from, copy.valid);
  // From now on the place may change at any time.
  std::memset(copy.to, 0xFF, copy.bytes);
  const RaceIgnored own;
  running_->copies.push_back(pending);
}

void Machine::AsyncCommit() {
  const RaceIgnored own;
  running_->groups.push_back(std::move(running_->copies));
  running_->copies.clear();
}

void Machine::AsyncWait(unsigned pending) {
  auto& groups = running_->groups;
  const size_t done = groups.size() > pending ? groups.size() - pending : 0;
  for (size_t g = 0; g < done; ++g) {
    for (PendingCopy& copy : groups[g]) {
      if (!copy.early) std::memcpy(copy.data, copy.from, copy.valid);
      std::memcpy(copy.to, copy.data, copy.bytes);
    }
  }
  const RaceIgnored own;
  groups.erase(groups.begin(), groups.begin() + static_cast<ptrdiff_t>(done));
}

void Machine::ReportDeadlock() {
  failed_ = true;
  error_ = "threads wait for each other:";
  int listed = 0;
  for (unsigned t = 0; t < num_threads_ && listed < 4; ++t) {
    const Thread& thread = *threads_[t];
    if (thread.state == State::kDone) continue;
    ++listed;
    error_ += std::string(" thread ") + std::to_string(t) + " in " +
              (thread.state == State::kInWarp ? thread.operation.name : "SyncThreads") + " at " +
              thread.place.file + ":" + std::to_string(thread.place.line) + ";";
  }
  error_ += " " + std::to_string(num_done_) + " have ended";
}

bool Machine::RunBlock(Dim3 block, unsigned num_threads) {
  num_threads_ = num_threads;
  num_done_ = 0;
  num_at_barrier_ = 0;
  ready_.clear();
  {
    // What the block before wrote there is not ordered before this one.
    const RaceIgnored own;
    shared_.Begin(shape_.shared_bytes);
  }
  while (threads_.size() < num_threads) threads_.push_back(std::make_unique<Thread>());
  for (unsigned t = 0; t < num_threads; ++t) {
    Thread& thread = *threads_[t];
    const Dim3 dim = shape_.block;
    thread.index = {
        {t % dim.x, t / dim.x % dim.y, t / (dim.x * dim.y)}, block, dim, shape_.grid, t};
    thread.place = {"the start", 0};
    thread.groups.clear();
    thread.copies.clear();
    thread.fiber.Prepare(Entry);
    MakeReady(t);
  }
  uint64_t switches = 0;
  while (!ready_.empty() && !failed_) {
    if (++switches > kMaxSwitches) {
      failed_ = true;
      error_ = "a block makes no progress";
      return false;
    }
    const unsigned chosen = Draw(static_cast<unsigned>(ready_.size()));
    std::swap(ready_[chosen], ready_.back());
    running_ = threads_[ready_.back()].get();
    ready_.pop_back();
    Switch(scheduler_, running_->fiber.context(), /*last=*/false);
  }
  if (!failed_ && num_done_ != num_threads) ReportDeadlock();
  if (!failed_ && !shared_.GuardsIntact()) {
    failed_ = true;
    error_ = "a write outside shared memory";
  }
  return !failed_;
}

int Machine::RunGrid(const LaunchShape& shape, void (*invoke)(const void*), const void* call) {
  const auto count = [](Dim3 d) { return uint64_t{d.x} * d.y * d.z; };
  const uint64_t blocks = count(shape.grid);
  const uint64_t num_threads = count(shape.block);
  error_.clear();
  if (blocks == 0 || blocks > uint64_t{1} << 31 || shape.grid.y > 65535 || shape.grid.z > 65535 ||
      num_threads == 0 || num_threads > kMaxThreads || shape.shared_bytes > size_t{227} * 1024) {
    error_ = "a grid no device takes";
    return kBadArguments;
  }
  shape_ = shape;
  invoke_ = invoke;
  call_ = call;
  failed_ = false;
  random_ = seed_;
  AdoptThread(scheduler_);
  RaceRelease(&launch_object_);
  std::vector<uint64_t> order(blocks);
  for (uint64_t i = 0; i < blocks; ++i) {
    order[i] = i;
    std::swap(order[i], order[Draw(static_cast<unsigned>(i + 1))]);
  }
  for (const uint64_t i : order) {
    const Dim3 block = {static_cast<unsigned>(i % shape.grid.x),
                        static_cast<unsigned>(i / shape.grid.x % shape.grid.y),
                        static_cast<unsigned>(i / shape.grid.x / shape.grid.y)};
    if (!RunBlock(block, static_cast<unsigned>(num_threads))) break;
  }
  RaceAcquire(&num_done_);
  return failed_ ? kKernelError : 0;
}

}  // namespace

void SetSeed(uint64_t seed) { Current().SetSeed(seed); }
const std::string& LastError() { return Current().error(); }
const ThreadIndex& Self() { return Current().Self(); }
void Fail(const char* message, Place place) { Current().Fail(message, place); }
void MaybeYield() { Current().MaybeYield(); }
void Fence() {
  static const char object = 0;
  RaceRelease(&object);
  RaceAcquire(&object);
  Current().MaybeYield();
}
void BlockBarrier(Place place) { Current().BlockBarrier(place); }
void RunWarpOperation(const WarpOperation& operation, const void* in, void* out) {
  Current().RunWarpOperation(operation, in, out);
}
void* SharedVariable(const void* tag, size_t bytes, size_t alignment) {
  return Current().SharedVariable(tag, bytes, alignment);
}
unsigned char* DynamicShared() { return Current().DynamicShared(); }
void AsyncCopy(void* to, const void* from, size_t bytes, size_t valid, Place place) {
  Current().AsyncCopy({to, from, bytes, valid, false, {}}, place);
}
void AsyncCommit() { Current().AsyncCommit(); }
void AsyncWait(unsigned pending) { Current().AsyncWait(pending); }
int RunGrid(const LaunchShape& shape, void (*invoke)(const void* call), const void* call) {
  return Current().RunGrid(shape, invoke, call);
}

namespace {
std::atomic<LaunchSink>& Sink() {
  static std::atomic<LaunchSink> sink = nullptr;
  return sink;
}
std::atomic<LoadSink>& SinkOfLoads() {
  static std::atomic<LoadSink> sink = nullptr;
  return sink;
}
}  // namespace

void SetLaunchSink(LaunchSink sink) { Sink() = sink; }

int RunOrQueueGrid(Stream stream, const LaunchShape& shape, void (*invoke)(const void* call),
                   const void* call, size_t bytes) {
  const LaunchSink sink = Sink();
  if (stream == nullptr || sink == nullptr) return RunGrid(shape, invoke, call);
  return sink(stream, shape, invoke, call, bytes);
}

void SetLoadSink(LoadSink sink) { SinkOfLoads() = sink; }

int LoadKernel(const void* kernel) {
  const LoadSink sink = SinkOfLoads();
  return sink == nullptr ? 0 : sink(kernel);
}

}  // namespace inferd::cuda::emulator
