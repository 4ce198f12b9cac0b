// The calls of a group: each checks what it is given, and is enqueued on the device's stream.
#include <string>

#include "backends/cuda/nccl_group.h"

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
