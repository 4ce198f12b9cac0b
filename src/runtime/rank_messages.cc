#include "runtime/rank_messages.h"

#include <algorithm>

#include "plan/byte_reader.h"
#include "plan/byte_writer.h"

namespace inferd::runtime {
namespace {

constexpr uint32_t kGreetingMagic = 0x696e6672;
constexpr uint32_t kVersion = 6;  // of these layouts

Status Garbled(const char* what) {
  return Status(StatusCode::kDataLoss, std::string("garbled message between processes: ") + what);
}

bool ValidEpoch(uint64_t epoch) { return epoch != 0 && epoch != ~uint64_t{0}; }

}  // namespace

Communicator* RankLinks::*LinkMember(const RankPlace& place, size_t link) {
  const bool even = place.pp_rank % 2 == 0;
  switch (link) {
    case 0:
      return &RankLinks::tp;
    case 1:
      return &RankLinks::row;
    case 2:
      return &RankLinks::column;
    case 3:
      return even ? &RankLinks::next : &RankLinks::previous;
    case 4:
      return even ? &RankLinks::previous : &RankLinks::next;
    case 5:
      return &RankLinks::weights;
    case 6:
      return &RankLinks::local;
    default:
      return &RankLinks::leaders;
  }
}

namespace {

// The ranks of the stage that begins with `first`, by host; none unless each of several
// hosts has several of them.
std::vector<std::vector<int>> StageByHost(const ParallelShape& shape, int first) {
  const int per_host = shape.ranks() / shape.sum_hosts;
  std::vector<std::vector<int>> hosts;
  for (int rank = first; rank < first + shape.tp(); ++rank) {
    if (rank == first || rank % per_host == 0) hosts.emplace_back();
    hosts.back().push_back(rank);
  }
  const bool several =
      std::all_of(hosts.begin(), hosts.end(), [](const auto& ranks) { return ranks.size() > 1; });
  if (hosts.size() < 2 || !several) hosts.clear();
  return hosts;
}

std::vector<int> LocalOrLeaders(const ParallelShape& shape, int world_rank, bool local) {
  const int stage = PlaceOf(shape, world_rank).pp_rank * shape.tp();
  std::vector<int> leaders;
  for (const std::vector<int>& ranks : StageByHost(shape, stage)) {
    const bool here = std::find(ranks.begin(), ranks.end(), world_rank) != ranks.end();
    if (local && here) return ranks;
    leaders.push_back(ranks.front());
  }
  const bool leads = std::find(leaders.begin(), leaders.end(), world_rank) != leaders.end();
  return !local && leads ? leaders : std::vector<int>{world_rank};
}

}  // namespace

std::vector<int> LinkRanks(const ParallelShape& shape, int world_rank, size_t link) {
  if (link >= 6) return LocalOrLeaders(shape, world_rank, /*local=*/link == 6);
  const RankPlace place = PlaceOf(shape, world_rank);
  const int stage = place.pp_rank * shape.tp();
  int first = stage, count = 1, stride = 1;
  switch (link) {
    case 0:  // tp
      count = shape.tp();
      break;
    case 1:  // row
      first = stage + place.row() * shape.tp_columns;
      count = shape.tp_columns > 1 ? shape.tp_columns : 1;
      break;
    case 2:  // column
      first = stage + place.column();
      stride = shape.tp_columns;
      count = shape.tp_columns > 1 ? shape.tp_rows : 1;
      break;
    case 3:  // between an even stage and the next
    case 4:  // between an odd one and the next
      first = LinkMember(place, link) == &RankLinks::next ? world_rank : world_rank - shape.tp();
      stride = shape.tp();
      count = first >= 0 && first + stride < shape.ranks() ? 2 : 1;
      break;
    default:  // weights
      count = shape.shard_weights ? shape.tp() : 1;
      break;
  }
  std::vector<int> ranks;
  ranks.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) ranks.push_back(first + i * stride);
  return ranks;
}

RankFacts FactsOf(const RankInfo& info) {
  RankFacts facts;
  facts.vocab_size = info.config.vocab_size;
  facts.num_layers = info.config.num_layers;
  facts.max_model_len = info.memory.max_model_len;
  facts.num_blocks = info.memory.num_blocks;
  facts.weight_bytes = info.memory.weight_bytes;
  facts.load_us = info.load_us;
  facts.memory = info.use;
  facts.device = info.device;
  return facts;
}

Status CheckSameFacts(const RankFacts& expected, const RankFacts& found) {
  const auto differ = [](const char* what, int64_t a, int64_t b) {
    return a == b ? OkStatus()
                  : FailedPreconditionError(std::string(what) + " is " + std::to_string(b) +
                                            ", not " + std::to_string(a) +
                                            ": not the same checkpoint or configuration");
  };
  INFERD_RETURN_IF_ERROR(differ("the vocabulary", expected.vocab_size, found.vocab_size));
  INFERD_RETURN_IF_ERROR(differ("the number of layers", expected.num_layers, found.num_layers));
  INFERD_RETURN_IF_ERROR(differ("the context", expected.max_model_len, found.max_model_len));
  INFERD_RETURN_IF_ERROR(differ("the number of blocks", expected.num_blocks, found.num_blocks));
  return differ("the size of the weights", expected.weight_bytes, found.weight_bytes);
}

namespace {

void PutShape(const ParallelShape& shape, ByteWriter& out) {
  out.Put<int32_t>(shape.tp_rows);
  out.Put<int32_t>(shape.tp_columns);
  out.Put<int32_t>(shape.pp);
  out.Put<uint8_t>(shape.shard_weights ? 1 : 0);
  out.Put<int32_t>(shape.sum_hosts);
}

// One that CheckShape passes, or `in` is not ok.
ParallelShape TakeShape(ByteReader& in) {
  ParallelShape shape;
  shape.tp_rows = in.Take<int32_t>();
  shape.tp_columns = in.Take<int32_t>();
  shape.pp = in.Take<int32_t>();
  const auto shard_weights = in.Take<uint8_t>();
  in.Require(shard_weights <= 1);
  shape.shard_weights = shard_weights == 1;
  shape.sum_hosts = in.Take<int32_t>();
  in.Require(CheckShape(shape).ok());
  return shape;
}

}  // namespace

std::vector<std::byte> Encode(const RankGreeting& g) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.Put(kGreetingMagic);
  out.Put(kVersion);
  out.Put(g.parent_pid);
  out.Put(g.world_rank);
  out.Put(g.epoch);
  out.Put(g.max_message_bytes);
  out.Put(g.ring_bytes);
  out.Put(g.shared_links);
  PutShape(g.shared_shape, out);
  out.PutText(g.address);
  out.PutText(g.key);
  out.Put(g.remote_rank);
  out.Put(g.num_remote);
  out.PutText(g.own_host);
  out.Put(g.silence_us);
  return bytes;
}

StatusOr<RankGreeting> DecodeGreeting(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  in.Require(in.Take<uint32_t>() == kGreetingMagic);
  in.Require(in.Take<uint32_t>() == kVersion);
  RankGreeting g;
  g.parent_pid = in.Take<int64_t>();
  g.world_rank = in.Take<int32_t>();
  g.epoch = in.Take<uint64_t>();
  g.max_message_bytes = in.Take<int64_t>();
  g.ring_bytes = in.Take<int64_t>();
  g.shared_links = in.Take<uint8_t>();
  g.shared_shape = TakeShape(in);
  g.address = in.TakeText();
  g.key = in.TakeText();
  g.remote_rank = in.Take<int32_t>();
  g.num_remote = in.Take<int32_t>();
  g.own_host = in.TakeText();
  g.silence_us = in.Take<int64_t>();
  static_assert(kNumLinks <= 8);  // the bits of shared_links
  in.Require(g.world_rank >= 0 && g.world_rank < kMaxRanks);
  in.Require(g.max_message_bytes > 0 && g.ring_bytes >= 0 && g.silence_us >= 0);
  if (!in.AtEnd()) return Garbled("greeting");
  return g;
}

std::vector<std::byte> Encode(const RankSetup& s) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.Put(kVersion);
  out.PutText(s.version);
  PutShape(s.place.shape, out);
  out.Put<int32_t>(s.place.world_rank());
  out.Put(s.epoch);
  out.Put(s.comm.timeout_us);
  out.Put(s.comm.chunk_bytes);
  out.PutCount(s.addresses.size());
  for (const std::string& address : s.addresses) out.PutText(address);
  out.PutText(s.payload);
  return bytes;
}

StatusOr<RankSetup> DecodeSetup(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  const auto version = in.Take<uint32_t>();
  if (in.ok() && version != kVersion) {
    return FailedPreconditionError(
        "the engine's process speaks another version: " + std::to_string(version) + " instead of " +
        std::to_string(kVersion));
  }
  RankSetup s;
  s.version = in.TakeText();
  const ParallelShape shape = TakeShape(in);
  const auto world_rank = in.Take<int32_t>();
  if (!in.ok() || world_rank < 0 || world_rank >= shape.ranks()) {
    return Garbled("setup");
  }
  s.place = PlaceOf(shape, world_rank);
  s.epoch = in.Take<uint64_t>();
  s.comm.timeout_us = in.Take<int64_t>();
  s.comm.chunk_bytes = in.Take<int64_t>();
  const size_t count = in.TakeCount(sizeof(uint64_t));
  for (size_t i = 0; i < count; ++i) s.addresses.push_back(in.TakeText());
  s.payload = in.TakeText();
  in.Require(ValidEpoch(s.epoch));
  in.Require(count == 0 || count == static_cast<size_t>(shape.ranks()) * kNumLinks);
  if (!in.AtEnd()) return Garbled("setup");
  return s;
}

std::vector<std::byte> Encode(const RankFacts& f) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.Put(f.vocab_size);
  out.Put(f.num_layers);
  out.Put(f.max_model_len);
  out.Put(f.num_blocks);
  out.Put(f.weight_bytes);
  out.Put(f.load_us);
  for (const int64_t part :
       {f.memory.weights, f.memory.kv_cache, f.memory.activations, f.memory.other}) {
    out.Put(part);
  }
  out.Put(f.device.index);
  out.PutText(f.device.name);
  out.PutText(f.device.bus_id);
  out.Put(f.device.total_bytes);
  out.Put(f.device.free_bytes);
  return bytes;
}

StatusOr<RankFacts> DecodeFacts(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  RankFacts f;
  f.vocab_size = in.Take<int32_t>();
  f.num_layers = in.Take<int32_t>();
  f.max_model_len = in.Take<int32_t>();
  f.num_blocks = in.Take<int32_t>();
  f.weight_bytes = in.Take<int64_t>();
  f.load_us = in.Take<int64_t>();
  for (int64_t* part :
       {&f.memory.weights, &f.memory.kv_cache, &f.memory.activations, &f.memory.other}) {
    *part = in.Take<int64_t>();
    in.Require(*part >= 0);
  }
  f.device.index = in.Take<int32_t>();
  f.device.name = in.TakeText();
  f.device.bus_id = in.TakeText();
  f.device.total_bytes = in.Take<int64_t>();
  f.device.free_bytes = in.Take<int64_t>();
  in.Require(f.device.index >= -1 && f.device.free_bytes >= 0 &&
             f.device.free_bytes <= f.device.total_bytes);
  if (!in.AtEnd()) return Garbled("facts");
  return f;
}

std::vector<std::byte> EncodeStatus(const Status& status) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.Put<int32_t>(static_cast<int32_t>(status.code()));
  out.PutText(status.message());
  return bytes;
}

Status DecodeStatus(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  const auto code = in.Take<int32_t>();
  const std::string message = in.TakeText();
  const bool known = code > 0 && code <= static_cast<int32_t>(StatusCode::kUnauthenticated);
  if (!in.AtEnd() || !known) return Garbled("status");
  return Status(static_cast<StatusCode>(code), message);
}

}  // namespace inferd::runtime
