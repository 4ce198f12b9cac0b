#include "backends/cuda/nccl_group.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace inferd {
namespace {

using nccl::Result;
using nccl::Type;

enum class Kind : uint64_t {
  kAllReduce = 1,
  kReduceScatter,
  kAllGather,
  kAllToAll,
  kBroadcast,
  kSend,
  kRecv,
};

uint64_t AddressOf(const void* data) { return reinterpret_cast<uint64_t>(data); }

StatusOr<Type> SummedType(const TensorView& x) {
  if (x.dtype == DType::kF32) return Type::kFloat32;
  if (x.dtype == DType::kBF16) return Type::kBfloat16;
  return InvalidArgumentError("sums of " + std::string(DTypeName(x.dtype)) + " are not defined");
}

size_t SizeOf(const TensorView& x) { return static_cast<size_t>(x.NumElements()); }

}  // namespace

// ---- memory ----

void* GroupMemory::Allocate(size_t bytes, size_t /*alignment*/) {
  void* data = nullptr;  // of whole pages
  if (bytes == 0 || api_->mem_alloc(&data, bytes) != Result::kSuccess) return nullptr;
  std::lock_guard lock(mutex_);
  blocks_.push_back({data, bytes});
  ++in_use_;
  return data;
}

void GroupMemory::Free(void* pointer, size_t /*bytes*/) {
  if (pointer == nullptr) return;
  std::lock_guard lock(mutex_);
  INFERD_CHECK(in_use_ > 0);
  --in_use_;
}

void GroupMemory::Release() {
  std::lock_guard lock(mutex_);
  INFERD_CHECK(in_use_ == 0);
  for (const Block& block : std::exchange(blocks_, {})) (void)api_->mem_free(block.data);
}

std::vector<GroupMemory::Block> GroupMemory::blocks() const {
  std::lock_guard lock(mutex_);
  return blocks_;
}

// ---- coming together ----

struct NcclGroup::Card {
  nccl::UniqueId id;  // rank 0's
  int32_t version = 0;
  int32_t has_id = 0;
  int32_t has_windows = 0;
  int32_t num_blocks = 0;
  uint64_t block_bytes = 0;
};

NcclGroup::NcclGroup(CudaOps& ops, std::shared_ptr<const nccl::Api> api, GroupWatch& watch,
                     Communicator& host, const DeviceGroupOptions& options, const Clock& clock)
    : ops_(ops),
      api_(std::move(api)),
      watch_(watch),
      host_(host),
      options_(options),
      clock_(clock),
      memory_(api_),
      member_(watch.Add()) {}

NcclGroup::~NcclGroup() {
  // Leaving in agreement would wait for the others, who may be gone. Once all of this rank's
  // work is done nothing is lost by not asking them.
  if (!watch_.failed() && ops_.device().Wait().ok()) {
    std::lock_guard lock(member_->mutex);
    if (member_->comm != nullptr) (void)api_->comm_abort(std::exchange(member_->comm, nullptr));
  }
  watch_.Remove(member_);
  memory_.Release();
}

Status NcclGroup::Connect() {
  ops_.device().Use();
  const StatusOr<Card> card = ExchangeCards();
  Status status = card.status();
  if (status.ok()) status = Open(card->id);
  if (status.ok()) status = Register(card->has_windows != 0);
  if (!status.ok()) {
    watch_.Fail(status);
    return status;
  }
  connected_ = true;
  return OkStatus();
}

StatusOr<NcclGroup::Card> NcclGroup::ExchangeCards() {
  Card own{};
  own.version = api_->version;
  own.has_windows = api_->comm_window_register != nullptr ? 1 : 0;
  for (const GroupMemory::Block& block : memory_.blocks()) {
    ++own.num_blocks;
    own.block_bytes = own.block_bytes * 31 + block.bytes;  // the sizes in order
  }
  Status status;
  if (rank() == 0) {
    const Result result = api_->get_unique_id(&own.id);
    own.has_id = result == Result::kSuccess ? 1 : 0;
    if (own.has_id == 0) status = nccl::ErrorStatus(*api_, nullptr, result, "an id for the group");
  }
  std::vector<Card> cards(static_cast<size_t>(world_size()));
  INFERD_RETURN_IF_ERROR(
      host_.AllGather(std::as_bytes(std::span(&own, 1)), std::as_writable_bytes(std::span(cards))));
  INFERD_RETURN_IF_ERROR(status);
  Card common = cards.front();
  if (common.has_id == 0) return UnavailableError("NCCL: rank 0 has no id for the group");
  for (size_t r = 1; r < cards.size(); ++r) {
    if (cards[r].version != common.version) {
      return FailedPreconditionError("NCCL: rank " + std::to_string(r) + " has version " +
                                     nccl::VersionText(cards[r].version) + ", rank 0 " +
                                     nccl::VersionText(common.version));
    }
    const bool alike =
        cards[r].num_blocks == common.num_blocks && cards[r].block_bytes == common.block_bytes;
    common.has_windows &= alike ? cards[r].has_windows : 0;
  }
  return common;
}

Status NcclGroup::Settle(Result result, const char* what, int64_t timeout_us) {
  const int64_t end_us = clock_.NowUs() + timeout_us;
  while (result == Result::kInProgress) {
    if (watch_.failed()) return watch_.reason();
    const Result asked = api_->comm_get_async_error(member_->comm, &result);
    if (asked != Result::kSuccess) result = asked;
    if (result != Result::kInProgress) break;
    if (clock_.NowUs() > end_us) {
      return Status(StatusCode::kDeadlineExceeded, std::string("NCCL: ") + what +
                                                       " did not come about within " +
                                                       std::to_string(timeout_us / 1000) + " ms");
    }
    std::this_thread::yield();
  }
  if (result == Result::kSuccess) return OkStatus();
  return nccl::ErrorStatus(*api_, member_->comm, result, what);
}

Status NcclGroup::Open(const nccl::UniqueId& id) {
  constexpr char kWhat[] = "connecting the GPUs";
  std::lock_guard lock(member_->mutex);
  nccl::Config config;
  nccl::Comm* comm = nullptr;
  const Result result = api_->comm_init_rank_config(&comm, world_size(), id, rank(), &config);
  if (comm == nullptr) {
    if (result == Result::kSuccess || result == Result::kInProgress) {
      return InternalError("NCCL made no group");
    }
    return nccl::ErrorStatus(*api_, nullptr, result, kWhat);
  }
  member_->comm = comm;
  return Settle(result, kWhat, options_.connect_timeout_us);
}

// Tells the library of the memory that its collectives will be given: as windows, which it
// can use however the GPUs reach each other, or one rank's at a time.
Status NcclGroup::Register(bool symmetric) {
  std::lock_guard lock(member_->mutex);
  symmetric_ = symmetric;
  for (const GroupMemory::Block& block : memory_.blocks()) {
    // Both end with the group.
    nccl::Window* window = nullptr;
    void* handle = nullptr;
    const Result result =
        symmetric ? api_->comm_window_register(member_->comm, block.data, block.bytes, &window,
                                               nccl::kSymmetricWindow)
                  : api_->comm_register(member_->comm, block.data, block.bytes, &handle);
    INFERD_RETURN_IF_ERROR(Settle(result, "registering memory", options_.connect_timeout_us));
    registered_bytes_ += block.bytes;
  }
  return OkStatus();
}

std::string NcclGroup::Description() const {
  std::string text = "NCCL " + nccl::VersionText(api_->version);
  if (registered_bytes_ == 0) return text;
  text += symmetric_ ? ", windows of " : ", registered memory of ";
  return text + std::to_string(registered_bytes_ >> 20) + " MiB";
}

void NcclGroup::Abort() { watch_.Fail(Status(StatusCode::kAborted, "the group was aborted")); }

// ---- collectives ----

template <class Call>
Status NcclGroup::Enqueue(const char* what, std::initializer_list<uint64_t> given,
                          const Call& call) {
  if (watch_.failed()) return watch_.reason();
  if (!connected_) return FailedPreconditionError("the group is not connected");
  watch_.Enqueued();
  if (!ops_.BeginsCollective(given)) return OkStatus();
  Status status;
  {
    std::lock_guard lock(member_->mutex);
    status = member_->comm == nullptr ? watch_.reason()
                                      : Settle(call(member_->comm, ops_.device().stream()), what,
                                               options_.step_timeout_us);
  }
  if (!status.ok()) watch_.Fail(status);
  return status;
}

Status NcclGroup::AllReduce(const TensorView& x) {
  INFERD_ASSIGN_OR_RETURN(const Type type, SummedType(x));
  const size_t count = SizeOf(x);
  if (count == 0) return OkStatus();
  return Enqueue("an all-reduce",
                 {static_cast<uint64_t>(Kind::kAllReduce), AddressOf(x.data), count,
                  static_cast<uint64_t>(type)},
                 [&](nccl::Comm* comm, cudaStream_t stream) {
                   return api_->all_reduce(x.data, x.data, count, type, nccl::Reduction::kSum, comm,
                                           stream);
                 });
}

Status NcclGroup::ReduceScatter(const TensorView& in, const TensorView& out) {
  INFERD_ASSIGN_OR_RETURN(const Type type, SummedType(in));
  if (in.dtype != out.dtype || in.NumElements() != out.NumElements() * world_size()) {
    return InvalidArgumentError("the input of a reduce-scatter is one output per rank");
  }
  const size_t count = SizeOf(out);
  if (count == 0) return OkStatus();
  return Enqueue("a reduce-scatter",
                 {static_cast<uint64_t>(Kind::kReduceScatter), AddressOf(in.data),
                  AddressOf(out.data), count, static_cast<uint64_t>(type)},
                 [&](nccl::Comm* comm, cudaStream_t stream) {
                   return api_->reduce_scatter(in.data, out.data, count, type,
                                               nccl::Reduction::kSum, comm, stream);
                 });
}

Status NcclGroup::AllGather(std::span<const std::byte> in, std::span<std::byte> out) {
  if (out.size() != in.size() * static_cast<size_t>(world_size())) {
    return InvalidArgumentError("the output of an all-gather is one input per rank");
  }
  if (in.empty()) return OkStatus();
  return Enqueue("an all-gather",
                 {static_cast<uint64_t>(Kind::kAllGather), AddressOf(in.data()),
                  AddressOf(out.data()), in.size()},
                 [&](nccl::Comm* comm, cudaStream_t stream) {
                   return api_->all_gather(in.data(), out.data(), in.size(), Type::kUint8, comm,
                                           stream);
                 });
}

Status NcclGroup::AllToAll(std::span<const std::byte> in, std::span<std::byte> out) {
  const auto ranks = static_cast<size_t>(world_size());
  if (out.size() != in.size() || in.size() % ranks != 0) {
    return InvalidArgumentError("an all-to-all has equal parts, one for each rank");
  }
  if (in.empty()) return OkStatus();
  const size_t part = in.size() / ranks;
  return Enqueue("an all-to-all",
                 {static_cast<uint64_t>(Kind::kAllToAll), AddressOf(in.data()),
                  AddressOf(out.data()), in.size()},
                 [&](nccl::Comm* comm, cudaStream_t stream) {
                   Result first = api_->group_start();
                   const auto add = [&first](Result result) {
                     const bool fine = result == Result::kSuccess || result == Result::kInProgress;
                     if (!fine && first == Result::kSuccess) first = result;
                   };
                   for (int r = 0; r < world_size(); ++r) {
                     const size_t at = static_cast<size_t>(r) * part;
                     add(api_->send(in.data() + at, part, Type::kUint8, r, comm, stream));
                     add(api_->recv(out.data() + at, part, Type::kUint8, r, comm, stream));
                   }
                   const Result end = api_->group_end();
                   return first == Result::kSuccess ? end : first;
                 });
}

Status NcclGroup::Broadcast(std::span<std::byte> data, int root) {
  if (root < 0 || root >= world_size()) {
    return InvalidArgumentError("rank " + std::to_string(root) + " is not in the group");
  }
  if (data.empty()) return OkStatus();
  return Enqueue("a broadcast",
                 {static_cast<uint64_t>(Kind::kBroadcast), AddressOf(data.data()), data.size(),
                  static_cast<uint64_t>(root)},
                 [&](nccl::Comm* comm, cudaStream_t stream) {
                   return api_->broadcast(data.data(), data.data(), data.size(), Type::kUint8, root,
                                          comm, stream);
                 });
}

Status NcclGroup::Send(std::span<const std::byte> data, int to) {
  if (to < 0 || to >= world_size() || to == rank()) {
    return InvalidArgumentError("rank " + std::to_string(to) + " is not another rank");
  }
  if (data.empty()) return OkStatus();
  return Enqueue("a message",
                 {static_cast<uint64_t>(Kind::kSend), AddressOf(data.data()), data.size(),
                  static_cast<uint64_t>(to)},
                 [&](nccl::Comm* comm, cudaStream_t stream) {
                   return api_->send(data.data(), data.size(), Type::kUint8, to, comm, stream);
                 });
}

Status NcclGroup::Recv(std::span<std::byte> data, int from) {
  if (from < 0 || from >= world_size() || from == rank()) {
    return InvalidArgumentError("rank " + std::to_string(from) + " is not another rank");
  }
  if (data.empty()) return OkStatus();
  return Enqueue("a message",
                 {static_cast<uint64_t>(Kind::kRecv), AddressOf(data.data()), data.size(),
                  static_cast<uint64_t>(from)},
                 [&](nccl::Comm* comm, cudaStream_t stream) {
                   return api_->recv(data.data(), data.size(), Type::kUint8, from, comm, stream);
                 });
}

}  // namespace inferd
