#include "backends/cuda/nccl_group.h"

#include <thread>
#include <utility>

namespace inferd {

using nccl::Result;

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

}  // namespace inferd
