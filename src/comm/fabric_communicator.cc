#include "comm/fabric_communicator.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "comm/sum.h"

namespace inferd {
namespace {

// Up to here every rank sums everything itself, in one exchange; above, each sums its
// part and a second exchange collects the parts. Two ranks read the same either way.
constexpr size_t kOneExchangeBytes = 16 << 10;
// Parts begin at multiples of this many elements: a cache line.
constexpr size_t kPartElements = 32;

constexpr int64_t kMaxChunkBytes = 16 << 20;
constexpr int64_t kChunkGranularity = 4096;

std::span<std::byte> BytesOf(const TensorView& x) {
  return {static_cast<std::byte*>(x.data), static_cast<size_t>(x.NumBytes())};
}

Status CheckReducible(DType dtype) {
  if (dtype == DType::kF32 || dtype == DType::kBF16) return OkStatus();
  return InvalidArgumentError("sums of " + std::string(DTypeName(dtype)) + " are not defined");
}

// memcpy with null pointers of empty spans is undefined.
void Copy(std::byte* to, const std::byte* from, size_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, bytes);
}

}  // namespace

Status CheckGroup(int rank, int world_size, const CommOptions& options) {
  if (world_size < 1 || world_size > kMaxRanks) {
    return InvalidArgumentError("the number of ranks must be in 1.." + std::to_string(kMaxRanks));
  }
  if (rank < 0 || rank >= world_size) {
    return InvalidArgumentError("rank " + std::to_string(rank) + " is not below " +
                                std::to_string(world_size));
  }
  if (options.chunk_bytes < kChunkGranularity || options.chunk_bytes > kMaxChunkBytes ||
      options.chunk_bytes % kChunkGranularity != 0) {
    return InvalidArgumentError("chunk_bytes must be a multiple of 4096, at most 16 MiB");
  }
  if (options.timeout_us <= 0) return InvalidArgumentError("timeout_us must be positive");
  return OkStatus();
}

FabricCommunicator::FabricCommunicator(std::unique_ptr<Fabric> fabric, int rank, int world_size,
                                       const CommOptions& options, const Clock& clock)
    : fabric_(std::move(fabric)),
      rank_(rank),
      world_size_(world_size),
      chunk_bytes_(static_cast<size_t>(options.chunk_bytes)),
      timeout_us_(options.timeout_us),
      clock_(clock) {}

Status FabricCommunicator::Begin(CallKind kind, size_t total_bytes, uint32_t detail) {
  if (!broken_.ok()) return broken_;
  if (aborted_.load(std::memory_order_acquire)) {
    return End(Status(StatusCode::kAborted, "the group was aborted"));
  }
  header_ = CallHeader{++sequence_, total_bytes, 0, kind, detail};
  fabric_->SetDeadline(clock_.NowUs() + timeout_us_);
  return OkStatus();
}

Status FabricCommunicator::BeginMessage(size_t bytes, int peer, uint64_t& pair_sequence) {
  if (peer < 0 || peer >= world_size_ || peer == rank_) {
    return InvalidArgumentError("rank " + std::to_string(peer) + " is not another rank");
  }
  INFERD_RETURN_IF_ERROR(Begin(CallKind::kMessage, bytes, 0));
  --sequence_;  // messages are numbered by pair
  header_.sequence = ++pair_sequence;
  return OkStatus();
}

Status FabricCommunicator::End(Status status) {
  if (status.ok()) return status;
  broken_ = aborted_.load(std::memory_order_acquire)
                ? Status(StatusCode::kAborted, "the group was aborted")
                : std::move(status);
  fabric_->Break(broken_.code());
  return broken_;
}

void FabricCommunicator::Abort() {
  aborted_.store(true, std::memory_order_release);
  fabric_->Break(StatusCode::kAborted);
}

// Every rank sums its part of the piece, and gets the others' parts.
Status FabricCommunicator::ReducePiece(DType dtype, std::span<std::byte> piece) {
  const size_t element = static_cast<size_t>(DTypeSize(dtype));
  const size_t unit = kPartElements * element;
  const size_t part = (piece.size() + World() * unit - 1) / (World() * unit) * unit;
  std::array<std::span<const std::byte>, kMaxRanks> parts;
  for (size_t r = 0; r < World(); ++r) {
    const size_t first = std::min(r * part, piece.size());
    parts[r] = piece.subspan(first, std::min(part, piece.size() - first));
    sizes_[r] = parts[r].size();
  }
  INFERD_RETURN_IF_ERROR(
      fabric_->Deal(header_, std::span(parts).first(World()), std::span(theirs_).first(World())));
  const std::span<std::byte> mine =
      piece.subspan(std::min(Me() * part, piece.size()), parts[Me()].size());
  SumInOrder(dtype, std::span(theirs_).first(World()), static_cast<int64_t>(mine.size() / element),
             mine.data());
  INFERD_RETURN_IF_ERROR(fabric_->Share(header_, mine, std::span(sizes_).first(World()),
                                        std::span(theirs_).first(World())));
  for (size_t r = 0; r < World(); ++r) {
    Copy(piece.data() + std::min(r * part, piece.size()), theirs_[r], sizes_[r]);
  }
  return OkStatus();
}

Status FabricCommunicator::DoAllReduce(DType dtype, std::span<std::byte> data) {
  const auto theirs = std::span(theirs_).first(World());
  do {
    const auto piece =
        data.subspan(header_.offset, std::min(chunk_bytes_, data.size() - header_.offset));
    if (World() > 2 && piece.size() > kOneExchangeBytes) {
      INFERD_RETURN_IF_ERROR(ReducePiece(dtype, piece));
    } else {
      sizes_.fill(piece.size());
      INFERD_RETURN_IF_ERROR(
          fabric_->Share(header_, piece, std::span(sizes_).first(World()), theirs));
      SumInOrder(dtype, theirs, static_cast<int64_t>(piece.size()) / DTypeSize(dtype),
                 piece.data());
    }
    header_.offset += piece.size();
  } while (header_.offset < data.size());
  return OkStatus();
}

Status FabricCommunicator::AllReduce(const TensorView& x) {
  INFERD_RETURN_IF_ERROR(CheckReducible(x.dtype));
  const std::span<std::byte> data = BytesOf(x);
  INFERD_RETURN_IF_ERROR(Begin(CallKind::kAllReduce, data.size(), static_cast<uint32_t>(x.dtype)));
  if (world_size_ == 1) return OkStatus();
  return End(DoAllReduce(x.dtype, data));
}

Status FabricCommunicator::DoReduceScatter(DType dtype, std::span<const std::byte> in,
                                           std::span<std::byte> out) {
  const size_t unit = static_cast<size_t>(DTypeSize(dtype));
  const size_t piece = chunk_bytes_ / World() / unit * unit;
  std::array<std::span<const std::byte>, kMaxRanks> parts;
  do {
    const size_t n = std::min(piece, out.size() - header_.offset);
    for (size_t r = 0; r < World(); ++r) {
      parts[r] = in.subspan(r * out.size() + header_.offset, n);
    }
    INFERD_RETURN_IF_ERROR(
        fabric_->Deal(header_, std::span(parts).first(World()), std::span(theirs_).first(World())));
    SumInOrder(dtype, std::span(theirs_).first(World()), static_cast<int64_t>(n / unit),
               out.data() + header_.offset);
    header_.offset += n;
  } while (header_.offset < out.size());
  return OkStatus();
}

Status FabricCommunicator::ReduceScatter(const TensorView& in, const TensorView& out) {
  INFERD_RETURN_IF_ERROR(CheckReducible(in.dtype));
  if (in.dtype != out.dtype || in.NumElements() != out.NumElements() * world_size_) {
    return InvalidArgumentError("the input of a reduce-scatter is one output per rank");
  }
  INFERD_RETURN_IF_ERROR(Begin(CallKind::kReduceScatter, static_cast<size_t>(in.NumBytes()),
                               static_cast<uint32_t>(in.dtype)));
  return End(DoReduceScatter(in.dtype, BytesOf(in), BytesOf(out)));
}

Status FabricCommunicator::DoAllGather(std::span<const std::byte> in, std::span<std::byte> out) {
  do {
    const size_t n = std::min(chunk_bytes_, in.size() - header_.offset);
    sizes_.fill(n);
    INFERD_RETURN_IF_ERROR(fabric_->Share(header_, in.subspan(header_.offset, n),
                                          std::span(sizes_).first(World()),
                                          std::span(theirs_).first(World())));
    for (size_t r = 0; r < World(); ++r) {
      Copy(out.data() + r * in.size() + header_.offset, theirs_[r], n);
    }
    header_.offset += n;
  } while (header_.offset < in.size());
  return OkStatus();
}

Status FabricCommunicator::AllGather(std::span<const std::byte> in, std::span<std::byte> out) {
  if (out.size() != in.size() * World()) {
    return InvalidArgumentError("the output of an all-gather is one input per rank");
  }
  INFERD_RETURN_IF_ERROR(Begin(CallKind::kAllGather, in.size(), 0));
  return End(DoAllGather(in, out));
}

Status FabricCommunicator::DoAllToAll(std::span<const std::byte> in, std::span<std::byte> out) {
  const size_t part = in.size() / World();
  const size_t piece = chunk_bytes_ / World();
  std::array<std::span<const std::byte>, kMaxRanks> parts;
  do {
    const size_t n = std::min(piece, part - header_.offset);
    for (size_t r = 0; r < World(); ++r) parts[r] = in.subspan(r * part + header_.offset, n);
    INFERD_RETURN_IF_ERROR(
        fabric_->Deal(header_, std::span(parts).first(World()), std::span(theirs_).first(World())));
    for (size_t r = 0; r < World(); ++r) {
      Copy(out.data() + r * part + header_.offset, theirs_[r], n);
    }
    header_.offset += n;
  } while (header_.offset < part);
  return OkStatus();
}

Status FabricCommunicator::AllToAll(std::span<const std::byte> in, std::span<std::byte> out) {
  if (out.size() != in.size() || in.size() % World() != 0) {
    return InvalidArgumentError("an all-to-all has equal parts, one for each rank");
  }
  INFERD_RETURN_IF_ERROR(Begin(CallKind::kAllToAll, in.size(), 0));
  return End(DoAllToAll(in, out));
}

Status FabricCommunicator::DoBroadcast(std::span<std::byte> data, size_t root) {
  do {
    const auto piece =
        data.subspan(header_.offset, std::min(chunk_bytes_, data.size() - header_.offset));
    sizes_.fill(0);
    sizes_[root] = piece.size();
    const std::span<const std::byte> mine = root == Me() ? piece : piece.first(0);
    INFERD_RETURN_IF_ERROR(fabric_->Share(header_, mine, std::span(sizes_).first(World()),
                                          std::span(theirs_).first(World())));
    Copy(piece.data(), theirs_[root], piece.size());
    header_.offset += piece.size();
  } while (header_.offset < data.size());
  return OkStatus();
}

Status FabricCommunicator::Broadcast(std::span<std::byte> data, int root) {
  if (root < 0 || root >= world_size_) {
    return InvalidArgumentError("rank " + std::to_string(root) + " is not in the group");
  }
  INFERD_RETURN_IF_ERROR(Begin(CallKind::kBroadcast, data.size(), static_cast<uint32_t>(root)));
  return End(DoBroadcast(data, static_cast<size_t>(root)));
}

Status FabricCommunicator::Barrier() {
  INFERD_RETURN_IF_ERROR(Begin(CallKind::kBarrier, 0, 0));
  sizes_.fill(0);
  return End(fabric_->Share(header_, {}, std::span(sizes_).first(World()),
                            std::span(theirs_).first(World())));
}

Status FabricCommunicator::DoSend(std::span<const std::byte> data, int to) {
  do {
    const auto piece =
        data.subspan(header_.offset, std::min(chunk_bytes_, data.size() - header_.offset));
    INFERD_RETURN_IF_ERROR(fabric_->Send(header_, piece, to));
    header_.offset += piece.size();
  } while (header_.offset < data.size());
  return OkStatus();
}

Status FabricCommunicator::Send(std::span<const std::byte> data, int to) {
  INFERD_RETURN_IF_ERROR(BeginMessage(data.size(), to, sent_[static_cast<size_t>(to) % kMaxRanks]));
  return End(DoSend(data, to));
}

Status FabricCommunicator::DoRecv(std::span<std::byte> data, int from) {
  do {
    const auto piece =
        data.subspan(header_.offset, std::min(chunk_bytes_, data.size() - header_.offset));
    INFERD_RETURN_IF_ERROR(fabric_->Recv(header_, piece, from));
    header_.offset += piece.size();
  } while (header_.offset < data.size());
  return OkStatus();
}

Status FabricCommunicator::Recv(std::span<std::byte> data, int from) {
  INFERD_RETURN_IF_ERROR(
      BeginMessage(data.size(), from, received_[static_cast<size_t>(from) % kMaxRanks]));
  return End(DoRecv(data, from));
}

}  // namespace inferd
