#include "backends/cuda/nccl_shim.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "backends/cuda/fake_stream.h"
#include "backends/cuda/nccl_api.h"
#include "inferd/tensor/tensor.h"

namespace inferd::testing {
namespace {

using nccl::Config;
using nccl::Reduction;
using nccl::Result;
using nccl::Type;
using nccl::UniqueId;

// ---- what ranks share ----

constexpr int kMostRanks = 8;
constexpr size_t kAreaBytes = size_t{4} << 20;  // of a rank's part of a collective
constexpr size_t kMessageBytes = size_t{1} << 20;
constexpr uint32_t kMagic = 0x5348494d;

enum class Kind : uint32_t { kAllReduce, kReduceScatter, kAllGather, kBroadcast, kSend, kRecv };

struct Area {
  std::atomic<uint64_t> published{0};  // collectives
  std::atomic<uint64_t> done{0};
  Kind kind = Kind::kAllReduce;
  uint64_t bytes = 0;
  int32_t detail = 0;
};
struct Pair {
  std::atomic<uint64_t> written{0};  // messages
  std::atomic<uint64_t> read{0};
  uint64_t bytes = 0;
};
struct Segment {
  std::atomic<int32_t> joined{0};
  std::atomic<int32_t> error{0};  // a Result, for all
  std::array<std::atomic<int32_t>, kMostRanks> taken{};
  std::array<Area, kMostRanks> areas;
  std::array<std::array<Pair, kMostRanks>, kMostRanks> pairs;
};
constexpr size_t kHeaderBytes = size_t{1} << 20;
static_assert(sizeof(Segment) < kHeaderBytes);
constexpr size_t kSegmentBytes =
    kHeaderBytes + kMostRanks * kAreaBytes + kMostRanks * kMostRanks * kMessageBytes;

struct Id {
  uint32_t magic;
  int32_t pid;
  int32_t fd;
};

// ---- what goes wrong ----

struct Plan {
  int version = 22809;
  bool id_fails = false;
  std::string init;
  bool register_fails = false;
  bool call_hangs = false;
  uint64_t error = 0;
  uint64_t hang = 0;
  bool abort_hangs = false;
};

// `rank`: -1 before there is a group.
Plan ReadPlan(int rank, int ranks) {
  Plan plan;
  const char* text = std::getenv("NCCL_SHIM");
  std::string_view rest(text != nullptr ? text : "");
  while (!rest.empty()) {
    const std::string word(rest.substr(0, rest.find(',')));
    rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (name == "rank" && rank >= 0 && (ranks == 1 || rank != std::atoi(value.c_str()))) break;
    if (name == "once" && rank >= 0) {
      const int fd = open(value.c_str(), O_CREAT | O_EXCL | O_CLOEXEC, 0600);
      if (fd < 0) break;
      close(fd);
    }
    if (name == "version") plan.version = std::atoi(value.c_str());
    if (name == "id") plan.id_fails = true;
    if (name == "init") plan.init = value;
    if (name == "register") plan.register_fails = true;
    if (name == "call") plan.call_hangs = true;
    if (name == "error") plan.error = std::strtoull(value.c_str(), nullptr, 10);
    if (name == "hang") plan.hang = std::strtoull(value.c_str(), nullptr, 10);
    if (name == "abort") plan.abort_hangs = true;
  }
  return plan;
}

// ---- a rank's end ----

struct Counts {
  std::atomic<int64_t> calls{0}, collectives{0}, comms{0}, aborts{0}, windows{0}, registered{0},
      memory{0};
};
Counts& Count() {
  static Counts counts;
  return counts;
}

struct CommState {
  ~CommState() {
    if (segment != nullptr) munmap(segment, kSegmentBytes);
  }
  std::byte* area(int r) const {
    return reinterpret_cast<std::byte*>(segment) + kHeaderBytes +
           static_cast<size_t>(r) * kAreaBytes;
  }
  std::byte* message(int from, int to) const {
    return area(kMostRanks) + static_cast<size_t>(from * kMostRanks + to) * kMessageBytes;
  }

  Segment* segment = nullptr;
  int rank = 0;
  int ranks = 1;
  Plan plan;
  std::atomic<bool> aborted{false};
  std::atomic<bool> lost{false};  // its error is there
  // ---- one thread at a time: whoever works on its stream ----
  uint64_t begun = 0;     // of both kinds
  uint64_t sequence = 0;  // of collectives
  std::array<uint64_t, kMostRanks> sent{};
  std::array<uint64_t, kMostRanks> received{};
};

struct Operation {
  Kind kind = Kind::kAllReduce;
  const std::byte* in = nullptr;
  std::byte* out = nullptr;
  size_t in_bytes = 0;
  size_t out_bytes = 0;
  Type type = Type::kUint8;
  int peer = 0;  // or root
};

float Load(const std::byte* data, Type type, size_t i) {
  if (type == Type::kFloat32) {
    float value = 0;
    std::memcpy(&value, data + 4 * i, 4);
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, data + 2 * i, 2);
  return BF16ToF32(bits);
}

void Store(std::byte* data, Type type, size_t i, float value) {
  if (type == Type::kFloat32) {
    std::memcpy(data + 4 * i, &value, 4);
    return;
  }
  const uint16_t bits = F32ToBF16(value);
  std::memcpy(data + 2 * i, &bits, 2);
}

// An operation as a stream does it: asked again until it is done.
class Running {
 public:
  Running(std::shared_ptr<CommState> comm, Operation operation)
      : comm_(std::move(comm)), op_(operation) {}

  // Whether it has been done.
  bool Go() {
    if (done_ || comm_->aborted) return true;
    if (comm_->lost || comm_->segment->error != 0) return false;
    done_ = op_.kind == Kind::kSend ? Send() : op_.kind == Kind::kRecv ? Receive() : Collective();
    if (done_) ++Count().collectives;
    return done_;
  }

 private:
  Area& area(int r) const { return comm_->segment->areas[static_cast<size_t>(r)]; }

  // As it begins: whether it will ever be done.
  bool Begin() {
    begun_ = true;
    const uint64_t count = ++comm_->begun;
    if (comm_->plan.error != 0 && count >= comm_->plan.error) comm_->lost = true;
    stuck_ = comm_->lost || count == comm_->plan.hang;
    return !stuck_;
  }

  bool Collective() {
    const int ranks = comm_->ranks;
    Segment& segment = *comm_->segment;
    if (stuck_ || (!begun_ && !Begin())) return false;
    if (number_ == 0) number_ = ++comm_->sequence;
    if (!published_) {
      for (int r = 0; r < ranks; ++r) {
        if (area(r).done < number_ - 1) return false;
      }
      Area& own = area(comm_->rank);
      own.kind = op_.kind;
      own.bytes = op_.in_bytes;
      own.detail = op_.kind == Kind::kBroadcast ? op_.peer : static_cast<int>(op_.type);
      std::memcpy(comm_->area(comm_->rank), op_.in, op_.in_bytes);
      own.published = number_;
      published_ = true;
    }
    for (int r = 0; r < ranks; ++r) {
      if (area(r).published < number_) return false;
    }
    const Area& own = area(comm_->rank);
    for (int r = 0; r < ranks; ++r) {
      const Area& other = area(r);
      if (other.kind == own.kind && other.bytes == own.bytes && other.detail == own.detail)
        continue;
      segment.error = static_cast<int32_t>(Result::kInternalError);
      return false;
    }
    Compute();
    area(comm_->rank).done = number_;
    return true;
  }

  void Compute() {
    switch (op_.kind) {
      case Kind::kAllGather:
        for (int r = 0; r < comm_->ranks; ++r) {
          std::memcpy(op_.out + static_cast<size_t>(r) * op_.in_bytes, comm_->area(r),
                      op_.in_bytes);
        }
        return;
      case Kind::kBroadcast:
        std::memcpy(op_.out, comm_->area(op_.peer), op_.in_bytes);
        return;
      default:
        break;
    }
    const size_t size = op_.type == Type::kFloat32 ? 4 : 2;
    const size_t first =
        op_.kind == Kind::kReduceScatter ? static_cast<size_t>(comm_->rank) * op_.out_bytes : 0;
    for (size_t i = 0; i < op_.out_bytes / size; ++i) {
      float sum = Load(comm_->area(0) + first, op_.type, i);
      for (int r = 1; r < comm_->ranks; ++r) sum += Load(comm_->area(r) + first, op_.type, i);
      Store(op_.out, op_.type, i, sum);
    }
  }

  bool Send() {
    const auto to = static_cast<size_t>(op_.peer);
    const auto from = static_cast<size_t>(comm_->rank);
    Pair& pair = comm_->segment->pairs[from][to];
    if (stuck_ || (!begun_ && !Begin())) return false;
    if (!published_) {
      if (pair.read < comm_->sent[to]) return false;
      std::memcpy(comm_->message(comm_->rank, op_.peer), op_.in, op_.in_bytes);
      pair.bytes = op_.in_bytes;
      place_ = ++comm_->sent[to];
      pair.written = place_;
      published_ = true;
    }
    return pair.read >= place_;
  }

  bool Receive() {
    const auto from = static_cast<size_t>(op_.peer);
    const auto to = static_cast<size_t>(comm_->rank);
    Pair& pair = comm_->segment->pairs[from][to];
    if (stuck_ || (!begun_ && !Begin())) return false;
    if (pair.written <= comm_->received[from]) return false;
    if (pair.bytes != op_.out_bytes) {
      comm_->segment->error = static_cast<int32_t>(Result::kInternalError);
      return false;
    }
    std::memcpy(op_.out, comm_->message(op_.peer, comm_->rank), op_.out_bytes);
    pair.read = ++comm_->received[from];
    return true;
  }

  std::shared_ptr<CommState> comm_;
  Operation op_;
  uint64_t number_ = 0;
  uint64_t place_ = 0;
  bool begun_ = false;
  bool published_ = false;
  bool stuck_ = false;
  bool done_ = false;
};

}  // namespace
}  // namespace inferd::testing

// What a handle points to: the library's own, of one thread at a time.
struct inferd::nccl::Comm {
  std::shared_ptr<inferd::testing::CommState> state;
  // What was asked for and is not on its stream yet.
  std::vector<std::pair<cudaStream_t, std::vector<inferd::testing::Operation>>> asked;
  int patience = 0;  // questions until it is
  bool ready = false;
  inferd::nccl::Result failed = inferd::nccl::Result::kSuccess;
  int windows = 0;
  int registered = 0;
};

namespace inferd::testing {
namespace {

using nccl::Comm;

constexpr int kPatience = 3;

struct Group {
  int depth = 0;
  std::map<Comm*, std::pair<cudaStream_t, std::vector<Operation>>> operations;
  std::vector<Comm*> aborts;
};
Group& ThisGroup() {
  static thread_local Group group;
  return group;
}

Result Abort(Comm* comm) {
  while (comm->state->plan.abort_hangs) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  comm->state->aborted = true;
  ++Count().aborts;
  --Count().comms;
  Count().windows -= comm->windows;
  Count().registered -= comm->registered;
  delete comm;
  return Result::kSuccess;
}

Result Ask(Comm* comm, cudaStream_t stream, std::vector<Operation> operations) {
  if (!comm->ready) return Result::kInvalidUsage;
  if (comm->failed != Result::kSuccess) return comm->failed;
  comm->asked.emplace_back(stream, std::move(operations));
  comm->patience = kPatience;
  return Result::kInProgress;
}

// Onto the streams.
Result Flush(Comm* comm) {
  for (auto& [stream, operations] : comm->asked) {
    std::vector<Running> running;
    for (const Operation& operation : operations) running.emplace_back(comm->state, operation);
    const int code =
        PutFakeWork(stream, /*milliseconds=*/0, [running = std::move(running)]() mutable {
          bool all = true;
          for (Running& one : running) all = one.Go() && all;
          return all ? 0 : static_cast<int>(cudaErrorNotReady);
        });
    if (code != 0) return Result::kUnhandledCudaError;
  }
  comm->asked.clear();
  return Result::kSuccess;
}

Result StateOf(Comm* comm) {
  const CommState& state = *comm->state;
  if (comm->failed != Result::kSuccess) return comm->failed;
  if (state.lost) return Result::kRemoteError;
  if (state.segment->error != 0) return static_cast<Result>(state.segment->error.load());
  if (!comm->ready) {
    if (state.plan.init == "breaks") return comm->failed = Result::kSystemError;
    if (state.segment->joined < state.ranks) return Result::kInProgress;
    comm->ready = true;
  }
  if (comm->patience > 0) {
    if (state.plan.call_hangs || --comm->patience > 0) return Result::kInProgress;
    return comm->failed = Flush(comm);
  }
  return Result::kSuccess;
}

Result Add(Comm* comm, cudaStream_t stream, const Operation& operation) {
  if (comm == nullptr) return Result::kInvalidArgument;
  ++Count().calls;
  const bool message = operation.kind == Kind::kSend || operation.kind == Kind::kRecv;
  const size_t limit = message ? kMessageBytes : kAreaBytes;
  if (operation.in_bytes > limit || operation.out_bytes > limit * kMostRanks ||
      (operation.in_bytes > 0 && !IsFakeDeviceMemory(operation.in, operation.in_bytes)) ||
      (operation.out_bytes > 0 && !IsFakeDeviceMemory(operation.out, operation.out_bytes)) ||
      operation.peer < 0 || operation.peer >= comm->state->ranks) {
    return Result::kInvalidArgument;
  }
  Group& group = ThisGroup();
  if (group.depth == 0) return Ask(comm, stream, {operation});
  auto& [group_stream, operations] = group.operations[comm];
  group_stream = stream;
  operations.push_back(operation);
  return Result::kSuccess;
}

size_t BytesOf(Type type, size_t count) {
  return type == Type::kFloat32 ? 4 * count : type == Type::kBfloat16 ? 2 * count : count;
}

const std::byte* Bytes(const void* data) { return static_cast<const std::byte*>(data); }
std::byte* Bytes(void* data) { return static_cast<std::byte*>(data); }

}  // namespace
}  // namespace inferd::testing

using namespace inferd::testing;  // NOLINT: the C functions below are in no namespace

extern "C" {

void inferd_nccl_shim_counts(NcclShimCounts* counts) {
  const Counts& c = Count();
  *counts = {c.calls, c.collectives, c.comms, c.aborts, c.windows, c.registered, c.memory};
}

Result ncclGetVersion(int* version) {
  *version = ReadPlan(-1, 1).version;
  return Result::kSuccess;
}
const char* ncclGetErrorString(Result result) {
  return result == Result::kRemoteError ? "remote process exited or there was a network error"
                                        : "an error of the shim";
}
const char* ncclGetLastError(Comm* /*comm*/) { return "as a test wants it"; }

Result ncclGetUniqueId(UniqueId* id) {
  if (ReadPlan(-1, 1).id_fails) return Result::kSystemError;
  // Kept until the process ends, like the thread that the real one starts.
  const int fd = memfd_create("nccl-shim", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(kSegmentBytes)) != 0) return Result::kSystemError;
  const Id own{kMagic, getpid(), fd};
  std::memset(id->bytes, 0, sizeof(id->bytes));
  std::memcpy(id->bytes, &own, sizeof(own));
  return Result::kSuccess;
}

Result ncclCommInitRankConfig(Comm** comm, int ranks, UniqueId id, int rank, Config* config) {
  *comm = nullptr;
  Id from{};
  std::memcpy(&from, id.bytes, sizeof(from));
  if (from.magic != kMagic || ranks < 1 || ranks > kMostRanks || rank < 0 || rank >= ranks ||
      config == nullptr || config->magic != 0xcafebeef || config->size < sizeof(Config) ||
      config->blocking != 0) {
    return Result::kInvalidArgument;
  }
  auto state = std::make_shared<CommState>();
  state->rank = rank;
  state->ranks = ranks;
  state->plan = ReadPlan(rank, ranks);
  if (state->plan.init == "fails") return Result::kSystemError;
  const std::string path = "/proc/" + std::to_string(from.pid) + "/fd/" + std::to_string(from.fd);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return Result::kSystemError;
  void* mapped = mmap(nullptr, kSegmentBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped == MAP_FAILED) return Result::kSystemError;
  state->segment = static_cast<Segment*>(mapped);
  if (state->segment->taken[static_cast<size_t>(rank)].exchange(1) != 0) {
    return Result::kInvalidUsage;
  }
  if (state->plan.init != "hangs") ++state->segment->joined;
  *comm = new Comm;
  (*comm)->state = std::move(state);
  ++Count().comms;
  return Result::kInProgress;
}

Result ncclCommGetAsyncError(Comm* comm, Result* result) {
  *result = StateOf(comm);
  return Result::kSuccess;
}

Result ncclCommAbort(Comm* comm) {
  if (ThisGroup().depth == 0) return Abort(comm);
  ThisGroup().aborts.push_back(comm);
  return Result::kSuccess;
}

Result ncclGroupStart() {
  ++ThisGroup().depth;
  return Result::kSuccess;
}
Result ncclGroupEnd() {
  Group& group = ThisGroup();
  if (group.depth == 0) return Result::kInvalidUsage;
  if (--group.depth > 0) return Result::kSuccess;
  Result result = Result::kSuccess;
  for (auto& [comm, asked] : std::exchange(group.operations, {})) {
    result = Ask(comm, asked.first, std::move(asked.second));
  }
  for (Comm* comm : std::exchange(group.aborts, {})) (void)Abort(comm);
  return result;
}

Result ncclAllReduce(const void* in, void* out, size_t count, Type type, Reduction /*sum*/,
                     Comm* comm, cudaStream_t stream) {
  const size_t bytes = BytesOf(type, count);
  return Add(comm, stream, {Kind::kAllReduce, Bytes(in), Bytes(out), bytes, bytes, type, 0});
}
Result ncclReduceScatter(const void* in, void* out, size_t count, Type type, Reduction /*sum*/,
                         Comm* comm, cudaStream_t stream) {
  const size_t bytes = BytesOf(type, count);
  const auto ranks = static_cast<size_t>(comm->state->ranks);
  return Add(comm, stream,
             {Kind::kReduceScatter, Bytes(in), Bytes(out), ranks * bytes, bytes, type, 0});
}
Result ncclAllGather(const void* in, void* out, size_t count, Type type, Comm* comm,
                     cudaStream_t stream) {
  const size_t bytes = BytesOf(type, count);
  const auto ranks = static_cast<size_t>(comm->state->ranks);
  return Add(comm, stream,
             {Kind::kAllGather, Bytes(in), Bytes(out), bytes, ranks * bytes, type, 0});
}
Result ncclBroadcast(const void* in, void* out, size_t count, Type type, int root, Comm* comm,
                     cudaStream_t stream) {
  const size_t bytes = BytesOf(type, count);
  return Add(comm, stream, {Kind::kBroadcast, Bytes(in), Bytes(out), bytes, bytes, type, root});
}
Result ncclSend(const void* in, size_t count, Type type, int peer, Comm* comm,
                cudaStream_t stream) {
  return Add(comm, stream, {Kind::kSend, Bytes(in), nullptr, BytesOf(type, count), 0, type, peer});
}
Result ncclRecv(void* out, size_t count, Type type, int peer, Comm* comm, cudaStream_t stream) {
  return Add(comm, stream, {Kind::kRecv, nullptr, Bytes(out), 0, BytesOf(type, count), type, peer});
}

Result ncclMemAlloc(void** data, size_t bytes) {
  if (cudaMalloc(data, bytes) != cudaSuccess) return Result::kUnhandledCudaError;
  ++Count().memory;
  return Result::kSuccess;
}
Result ncclMemFree(void* data) {
  --Count().memory;
  return cudaFree(data) == cudaSuccess ? Result::kSuccess : Result::kInvalidArgument;
}
Result ncclCommRegister(Comm* comm, void* data, size_t bytes, void** handle) {
  if (comm->state->plan.register_fails || !IsFakeDeviceMemory(data, bytes)) {
    return Result::kInvalidArgument;
  }
  *handle = data;
  ++comm->registered;
  ++Count().registered;
  return Result::kSuccess;
}
Result ncclCommWindowRegister(Comm* comm, void* data, size_t bytes, inferd::nccl::Window** window,
                              int flags) {
  if (comm->state->plan.register_fails || !IsFakeDeviceMemory(data, bytes) ||
      flags != inferd::nccl::kSymmetricWindow || reinterpret_cast<uintptr_t>(data) % 4096 != 0) {
    return Result::kInvalidArgument;
  }
  *window = static_cast<inferd::nccl::Window*>(data);
  ++comm->windows;
  ++Count().windows;
  return Result::kSuccess;
}
}  // extern "C"
