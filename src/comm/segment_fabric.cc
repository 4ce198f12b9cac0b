#include "comm/segment_fabric.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace inferd {
namespace {

// How often a sleeper looks after the peer it waits for.
constexpr int64_t kSliceNs = 2'000'000;

void Copy(std::byte* to, std::span<const std::byte> from) {
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
}

std::string RankName(int rank) { return "rank " + std::to_string(rank); }

}  // namespace

SegmentFabric::SegmentFabric(std::shared_ptr<const SegmentMapping> mapping, int rank,
                             int world_size, size_t chunk_bytes, IsAlive is_alive,
                             const Clock& clock)
    : mapping_(std::move(mapping)),
      layout_(mapping_->base(), world_size, chunk_bytes),
      rank_(rank),
      world_size_(world_size),
      chunk_bytes_(chunk_bytes),
      is_alive_(std::move(is_alive)),
      clock_(clock) {}

SegmentFabric::~SegmentFabric() {
  RankWords& words = layout_.Rank(static_cast<size_t>(rank_));
  Raise(words.left, 1);
  WakeAll(words.posted);
  for (size_t r = 0; r < static_cast<size_t>(world_size_); ++r) {
    WakeAll(layout_.Channel(static_cast<size_t>(rank_), r).sent);
    WakeAll(layout_.Channel(r, static_cast<size_t>(rank_)).received);
  }
}

Status SegmentFabric::Join() {
  WaitWord& joined = layout_.Rank(static_cast<size_t>(rank_)).joined;
  if (joined.value.exchange(1, std::memory_order_seq_cst) != 0) {
    return Status(StatusCode::kAlreadyExists, RankName(rank_) + " has joined this group before");
  }
  WakeAll(joined);
  return OkStatus();
}

Status SegmentFabric::AwaitAll() {
  for (int r = 0; r < world_size_; ++r) {
    INFERD_RETURN_IF_ERROR(Await(layout_.Rank(static_cast<size_t>(r)).joined, 1, r));
  }
  return OkStatus();
}

SlotHead& SegmentFabric::NextSlot(const CallHeader& header) {
  ++fills_;
  SlotHead& slot = layout_.Slot(static_cast<size_t>(rank_), fills_);
  slot.call = header;
  return slot;
}

Status SegmentFabric::PostAndAwait(const CallHeader& header) {
  Raise(layout_.Rank(static_cast<size_t>(rank_)).posted, fills_);
  for (int r = 0; r < world_size_; ++r) {
    if (r == rank_) continue;
    const auto peer = static_cast<size_t>(r);
    INFERD_RETURN_IF_ERROR(Await(layout_.Rank(peer).posted, fills_, r));
    const CallHeader theirs = layout_.Slot(peer, fills_).call;
    if (theirs != header) return HeaderMismatch(header, theirs, r);
  }
  return OkStatus();
}

Status SegmentFabric::Share(const CallHeader& header, std::span<const std::byte> mine,
                            std::span<const size_t> sizes, std::span<const std::byte*> theirs) {
  if (layout_.Head().broken.load(std::memory_order_acquire) != 0) return BrokenStatus();
  INFERD_CHECK(
      mine.size() <= chunk_bytes_ &&
      std::all_of(sizes.begin(), sizes.end(), [this](size_t n) { return n <= chunk_bytes_; }));
  Copy(SegmentLayout::Data(NextSlot(header)), mine);
  INFERD_RETURN_IF_ERROR(PostAndAwait(header));
  for (size_t r = 0; r < theirs.size(); ++r) {
    theirs[r] = r == static_cast<size_t>(rank_) ? mine.data()
                                                : SegmentLayout::Data(layout_.Slot(r, fills_));
  }
  return OkStatus();
}

Status SegmentFabric::Deal(const CallHeader& header,
                           std::span<const std::span<const std::byte>> parts,
                           std::span<const std::byte*> theirs) {
  if (layout_.Head().broken.load(std::memory_order_acquire) != 0) return BrokenStatus();
  std::byte* const data = SegmentLayout::Data(NextSlot(header));
  size_t offset = 0;
  size_t my_offset = 0;
  for (size_t r = 0; r < parts.size(); ++r) {
    INFERD_CHECK(parts[r].size() <= chunk_bytes_ - offset);
    if (r == static_cast<size_t>(rank_)) {
      my_offset = offset;
    } else {
      Copy(data + offset, parts[r]);
    }
    offset += parts[r].size();
  }
  INFERD_RETURN_IF_ERROR(PostAndAwait(header));
  for (size_t r = 0; r < theirs.size(); ++r) {
    theirs[r] = r == static_cast<size_t>(rank_)
                    ? parts[r].data()
                    : SegmentLayout::Data(layout_.Slot(r, fills_)) + my_offset;
  }
  return OkStatus();
}

Status SegmentFabric::Send(const CallHeader& header, std::span<const std::byte> data, int to) {
  if (layout_.Head().broken.load(std::memory_order_acquire) != 0) return BrokenStatus();
  const auto me = static_cast<size_t>(rank_);
  ChannelWords& channel = layout_.Channel(me, static_cast<size_t>(to));
  CallHeader piece_header = header;
  do {
    const uint32_t number = channel.sent.value.load(std::memory_order_relaxed) + 1;
    INFERD_RETURN_IF_ERROR(Await(channel.received, number - 2, to));
    SlotHead& buffer = layout_.Buffer(me, static_cast<size_t>(to), number);
    const auto piece = data.first(std::min(data.size(), kMessagePieceBytes));
    buffer.call = piece_header;
    Copy(SegmentLayout::Data(buffer), piece);
    Raise(channel.sent, number);
    data = data.subspan(piece.size());
    piece_header.offset += piece.size();
  } while (!data.empty());
  return OkStatus();
}

Status SegmentFabric::Recv(const CallHeader& header, std::span<std::byte> data, int from) {
  if (layout_.Head().broken.load(std::memory_order_acquire) != 0) return BrokenStatus();
  const auto me = static_cast<size_t>(rank_);
  ChannelWords& channel = layout_.Channel(static_cast<size_t>(from), me);
  CallHeader piece_header = header;
  do {
    const uint32_t number = channel.received.value.load(std::memory_order_relaxed) + 1;
    INFERD_RETURN_IF_ERROR(Await(channel.sent, number, from));
    SlotHead& buffer = layout_.Buffer(static_cast<size_t>(from), me, number);
    const CallHeader theirs = buffer.call;
    if (theirs != piece_header) return HeaderMismatch(piece_header, theirs, from);
    const auto piece = data.first(std::min(data.size(), kMessagePieceBytes));
    Copy(piece.data(), {SegmentLayout::Data(buffer), piece.size()});
    Raise(channel.received, number);
    data = data.subspan(piece.size());
    piece_header.offset += piece.size();
  } while (!data.empty());
  return OkStatus();
}

Status SegmentFabric::Await(WaitWord& word, uint32_t target, int peer) {
  if (SpinFor(word, target)) return OkStatus();
  for (;;) {
    SleepOn(word, target, kSliceNs);
    if (Reached(word, target)) return OkStatus();
    if (Status status = CheckPeer(word, target, peer); !status.ok()) return status;
  }
}

Status SegmentFabric::CheckPeer(const WaitWord& word, uint32_t target, int peer) {
  if (layout_.Head().broken.load(std::memory_order_acquire) != 0) return BrokenStatus();
  RankWords& words = layout_.Rank(static_cast<size_t>(peer));
  const bool left = Reached(words.left, 1);
  const bool died = Reached(words.joined, 1) && is_alive_ && !is_alive_(peer);
  // It may have done what we wait for just before it went.
  if ((left || died) && !Reached(word, target)) {
    missing_.store(peer);
    return UnavailableError(RankName(peer) + (left ? " has left the group" : " has died"));
  }
  if (clock_.NowUs() >= deadline_us_ && !Reached(word, target)) {
    missing_.store(peer);
    return Status(StatusCode::kDeadlineExceeded, RankName(peer) + " did not come in time");
  }
  return OkStatus();
}

void SegmentFabric::Break(StatusCode reason) {
  uint32_t none = 0;
  const uint32_t why = static_cast<uint32_t>(reason) | static_cast<uint32_t>(rank_ + 1) << 8 |
                       static_cast<uint32_t>(missing_.load() + 1) << 16;
  // Only the first reason counts.
  layout_.Head().broken.compare_exchange_strong(none, why, std::memory_order_acq_rel);
  for (size_t r = 0; r < static_cast<size_t>(world_size_); ++r) {
    WakeAll(layout_.Rank(r).joined);
    WakeAll(layout_.Rank(r).posted);
    for (size_t to = 0; to < static_cast<size_t>(world_size_); ++to) {
      WakeAll(layout_.Channel(r, to).sent);
      WakeAll(layout_.Channel(r, to).received);
    }
  }
}

Status SegmentFabric::BrokenStatus() const {
  const uint32_t why = layout_.Head().broken.load(std::memory_order_acquire);
  const auto code = static_cast<StatusCode>(why & 0xff);
  const std::string who = RankName(static_cast<int>(why >> 8 & 0xff) - 1);
  const std::string missing = RankName(static_cast<int>(why >> 16 & 0xff) - 1);
  if (code == StatusCode::kFailedPrecondition) {
    return FailedPreconditionError(who + " found that the ranks disagree");
  }
  if (code == StatusCode::kUnavailable) return UnavailableError(missing + " was missed by " + who);
  if (code == StatusCode::kDeadlineExceeded) {
    return UnavailableError(who + " gave up waiting for " + missing);
  }
  return UnavailableError(who + " has aborted the group");
}

}  // namespace inferd
