#include "backends/cuda/device_sampler.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cuda/sample.h"
#include "inferd/base/check.h"

namespace inferd {
namespace {

// Numbers of a row's lists that there is room for, on average over a full step.
constexpr size_t kListNumbers = 2048;
constexpr size_t kAlign = 16;

size_t RowBytes() { return sizeof(cuda::SampleSpec) + kListNumbers * sizeof(int32_t); }
size_t TopBytes(int32_t rows) {
  return static_cast<size_t>(rows) * cuda::kMaxLogprobs * sizeof(int32_t);
}
size_t ResultBytes(int32_t rows) {
  return (static_cast<size_t>(rows) * sizeof(cuda::SampleResult) + kAlign - 1) / kAlign * kAlign;
}

// Raw logits besides the adjusted ones only where they are small.
bool HasRawRoom(int32_t rows, int32_t vocabulary) {
  constexpr size_t kRawBytes = size_t{16} << 20;
  return static_cast<size_t>(rows) * static_cast<size_t>(vocabulary) * sizeof(float) <= kRawBytes;
}

}  // namespace

int64_t DeviceSampler::DeviceBytes(int32_t max_rows, int32_t vocabulary) {
  constexpr size_t kParts = 4;
  size_t bytes = static_cast<size_t>(max_rows) * sizeof(int32_t) + kParts * ArenaMap::kUnit;
  if (vocabulary > 0) {
    bytes += static_cast<size_t>(max_rows) * RowBytes() + ResultBytes(max_rows) +
             2 * TopBytes(max_rows) +
             cuda::SampleWorkspaceBytes(max_rows, vocabulary, HasRawRoom(max_rows, vocabulary));
  }
  return static_cast<int64_t>(bytes);
}

void DeviceSampler::Prepare(int32_t max_rows, int32_t vocabulary) {
  if (max_rows <= max_rows_ && vocabulary == vocabulary_) return;
  INFERD_CHECK(pending_ == 0);
  max_rows = std::max(max_rows, max_rows_);
  const size_t sent_bytes = static_cast<size_t>(max_rows) * RowBytes();
  const size_t result_bytes = ResultBytes(max_rows) + 2 * TopBytes(max_rows);
  has_raw_room_ = HasRawRoom(max_rows, vocabulary);
  const size_t workspace_bytes = cuda::SampleWorkspaceBytes(max_rows, vocabulary, has_raw_room_);
  const auto allocate = [&]() -> Status {
    for (Turn& turn : turns_) {
      INFERD_ASSIGN_OR_RETURN(turn.sent, PinnedBuffer::Create(sent_bytes));
      INFERD_ASSIGN_OR_RETURN(turn.results, PinnedBuffer::Create(result_bytes));
    }
    INFERD_ASSIGN_OR_RETURN(sent_on_device_, Buffer::Create(device_, sent_bytes));
    INFERD_ASSIGN_OR_RETURN(results_on_device_, Buffer::Create(device_, result_bytes));
    INFERD_ASSIGN_OR_RETURN(workspace_, Buffer::Create(device_, workspace_bytes));
    return OkStatus();
  };
  if (Status status = allocate(); !status.ok()) return device_.Fail(status);
  device_.Fill(workspace_.data(), 0, workspace_bytes);
  max_rows_ = max_rows;
  vocabulary_ = vocabulary;
}

void DeviceSampler::PrepareSlots(int32_t slots) {
  if (slots <= num_slots()) return;
  const size_t bytes = static_cast<size_t>(slots) * sizeof(int32_t);
  auto drawn = Buffer::Create(device_, bytes);
  if (!drawn.ok()) return device_.Fail(drawn.status());
  drawn_ = std::move(*drawn);
  device_.Fill(drawn_.data(), 0, bytes);
}

DeviceSampler::Layout DeviceSampler::LayoutOf(const SampleArguments& a) const {
  Layout layout{};
  size_t bytes = a.specs().size() * sizeof(cuda::SampleSpec);
  const auto place = [&](size_t count) {
    const size_t at = bytes;
    bytes += (count * sizeof(int32_t) + kAlign - 1) / kAlign * kAlign;
    return at;
  };
  layout.bias_ids = place(a.bias_ids().size());
  layout.bias_values = place(a.bias_values().size());
  layout.banned_ids = place(a.banned_ids().size());
  layout.seen_ids = place(a.seen_ids().size());
  layout.seen_counts = place(a.seen_counts().size());
  layout.bytes = bytes;
  return layout;
}

void DeviceSampler::Begin(float* logits, int32_t vocabulary, std::span<const SampleRow> rows,
                          std::span<SampleOutput> out) {
  INFERD_CHECK(pending_ < turns_.size());
  Prepare(static_cast<int32_t>(rows.size()), vocabulary);
  Turn& turn = turns_[(oldest_ + pending_++) % turns_.size()];
  turn.out = out;
  turn.wants_logprobs.clear();
  turn.on_host = true;
  if (!device_.ok()) return;
  for (const SampleRow& row : rows) {
    INFERD_CHECK(row.slot < num_slots());
    turn.wants_logprobs.push_back(row.logprobs >= 0 ? 1 : 0);
  }
  arguments_.Set(rows, vocabulary);
  const Layout layout = LayoutOf(arguments_);
  turn.on_host = !arguments_.fits() || layout.bytes > turn.sent.size() ||
                 (arguments_.needs_raw() && !has_raw_room_);
  if (turn.on_host) {
    DrawOnHost(logits, rows, out);
  } else {
    Launch(logits, layout, &turn);
  }
}

void DeviceSampler::Launch(float* logits, const Layout& layout, Turn* turn) {
  const auto put = [&](size_t at, const auto& list) {
    if (list.empty()) return;
    std::memcpy(turn->sent.data() + at, list.data(), list.size() * sizeof(list[0]));
  };
  put(0, arguments_.specs());
  put(layout.bias_ids, arguments_.bias_ids());
  put(layout.bias_values, arguments_.bias_values());
  put(layout.banned_ids, arguments_.banned_ids());
  put(layout.seen_ids, arguments_.seen_ids());
  put(layout.seen_counts, arguments_.seen_counts());
  device_.Copy(sent_on_device_.data(), turn->sent.data(), layout.bytes, cudaMemcpyHostToDevice);
  const auto rows = static_cast<int32_t>(arguments_.specs().size());
  std::byte* sent = sent_on_device_.data();
  std::byte* results = results_on_device_.data();
  cuda::SampleParams params;
  params.logits = logits;
  params.vocabulary = vocabulary_;
  params.num_rows = rows;
  params.specs = reinterpret_cast<const cuda::SampleSpec*>(sent);
  params.bias_ids = reinterpret_cast<const int32_t*>(sent + layout.bias_ids);
  params.bias_values = reinterpret_cast<const float*>(sent + layout.bias_values);
  params.banned_ids = reinterpret_cast<const int32_t*>(sent + layout.banned_ids);
  params.seen_ids = reinterpret_cast<const int32_t*>(sent + layout.seen_ids);
  params.seen_counts = reinterpret_cast<const int32_t*>(sent + layout.seen_counts);
  params.drawn = reinterpret_cast<int32_t*>(drawn_.data());
  params.results = reinterpret_cast<cuda::SampleResult*>(results);
  params.top_ids = reinterpret_cast<int32_t*>(results + ResultBytes(rows));
  params.top_logprobs = reinterpret_cast<float*>(results + ResultBytes(rows) + TopBytes(rows));
  params.workspace = workspace_.data();
  params.max_rows = max_rows_;
  arguments_.SetFlags(&params);
  if (device_.ok()) device_.Check(cuda::Sample(params, device_.stream()), "sampling");
  const size_t wanted = ResultBytes(rows) + (params.any_logprobs ? 2 * TopBytes(rows) : 0);
  device_.Copy(turn->results.data(), results_on_device_.data(), wanted, cudaMemcpyDeviceToHost);
}

void DeviceSampler::DrawOnHost(const float* logits, std::span<const SampleRow> rows,
                               std::span<SampleOutput> out) {
  host_logits_.resize(static_cast<size_t>(vocabulary_));
  for (size_t i = 0; i < rows.size(); ++i) {
    SampleRow row = rows[i];
    if (LooksAtSlot(row)) {
      history_.assign(row.history.begin(), row.history.end());
      if (!device_.CopyOut(&history_.back(), drawn() + row.slot, sizeof(TokenId)).ok()) return;
      row.history = history_;
    }
    const Status copied =
        device_.CopyOut(host_logits_.data(), logits + static_cast<int64_t>(i) * vocabulary_,
                        host_logits_.size() * sizeof(float));
    if (!copied.ok()) return;
    RefSampleRow(host_logits_, row, &host_, &out[i]);
    ++drawn_on_host_;
    if (row.slot < 0) continue;
    const TokenId token = out[i].corrupted ? 0 : out[i].token;
    device_.CopyIn(drawn_.data() + static_cast<size_t>(row.slot) * sizeof(token), &token,
                   sizeof(token));
  }
}

void DeviceSampler::Finish(bool done) {
  INFERD_CHECK(pending_ > 0);
  Turn& turn = turns_[oldest_];
  oldest_ = (oldest_ + 1) % turns_.size();
  --pending_;
  const std::span<SampleOutput> outputs = std::exchange(turn.out, {});
  if (!done || turn.on_host) return;
  const auto rows = static_cast<int32_t>(outputs.size());
  const std::byte* data = turn.results.data();
  const auto* results = reinterpret_cast<const cuda::SampleResult*>(data);
  const auto* ids = reinterpret_cast<const int32_t*>(data + ResultBytes(rows));
  const auto* logprobs = reinterpret_cast<const float*>(data + ResultBytes(rows) + TopBytes(rows));
  for (int32_t i = 0; i < rows; ++i) {
    const cuda::SampleResult& result = results[i];
    SampleOutput& out = outputs[i];
    out = SampleOutput();
    out.corrupted = result.corrupted != 0;
    out.token = out.corrupted ? -1 : result.token;
    if (turn.wants_logprobs[i] == 0) continue;
    out.logprob = result.logprob;
    const int64_t first = int64_t{i} * cuda::kMaxLogprobs;
    for (int32_t j = 0; j < std::min(result.num_top, cuda::kMaxLogprobs); ++j) {
      out.top.emplace_back(ids[first + j], logprobs[first + j]);
    }
  }
}

}  // namespace inferd
