#include "backends/cuda/step_words.h"

#include <algorithm>
#include <cstring>

#include "cuda/step.h"
#include "inferd/base/check.h"

namespace inferd {
namespace {

constexpr size_t kMaxChanges = 2 * size_t{StepWords::kMaxDeltas};
constexpr size_t kChangeBytes = 2 * kMaxChanges * sizeof(int32_t);

}  // namespace

StepWords::StepWords(Device& device, int64_t num_words, int64_t boundary)
    : device_(device), boundary_(boundary), mirror_(static_cast<size_t>(num_words)) {
  INFERD_CHECK(boundary >= 0 && boundary <= num_words && num_words <= INT32_MAX);
  for (Section& section : sections_) section.changed.reserve(kMaxDeltas);
  if (Status status = Allocate(num_words); !status.ok()) {
    device_.Fail(status);
  } else {
    device_.Fill(words_.data(), 0, words_.size());
  }
}

StepWords::~StepWords() {
  device_.Use();
  (void)device_.Wait();
}

int64_t StepWords::DeviceBytes(int64_t num_words) {
  return num_words * static_cast<int64_t>(sizeof(int32_t)) +
         static_cast<int64_t>(kChangeBytes + 2 * ArenaMap::kUnit);
}

Status StepWords::Allocate(int64_t num_words) {
  const size_t bytes = static_cast<size_t>(num_words) * sizeof(int32_t);
  INFERD_ASSIGN_OR_RETURN(words_, Buffer::Create(device_, bytes));
  INFERD_ASSIGN_OR_RETURN(changes_, Buffer::Create(device_, kChangeBytes));
  for (Staged& staged : staged_) {
    INFERD_ASSIGN_OR_RETURN(staged.ranges, PinnedBuffer::Create(bytes));
    INFERD_ASSIGN_OR_RETURN(staged.changes, PinnedBuffer::Create(kChangeBytes));
    INFERD_ASSIGN_OR_RETURN(staged.sent, StreamMark::Create());
  }
  return OkStatus();
}

void StepWords::Put(int64_t at, std::span<const int32_t> values) {
  if (values.empty()) return;
  const auto count = static_cast<int64_t>(values.size());
  Section& section = sections_[at < boundary_ ? 0 : 1];
  INFERD_CHECK(at >= 0 &&
               at + count <= (at < boundary_ ? boundary_ : static_cast<int64_t>(mirror_.size())));
  int32_t* const mirror = mirror_.data() + at;
  if (std::memcmp(mirror, values.data(), values.size_bytes()) == 0) return;
  for (int64_t i = 0; i < count; ++i) {
    if (mirror[i] == values[i]) continue;
    mirror[i] = values[i];
    if (section.count == 0) section.first = section.last = at + i;
    section.first = std::min(section.first, at + i);
    section.last = std::max(section.last, at + i);
    if (section.count < kMaxDeltas) section.changed.push_back(static_cast<int32_t>(at + i));
    ++section.count;
  }
}

void StepWords::Send() {
  Staged& turn = staged_[next_staged_];
  next_staged_ = (next_staged_ + 1) % staged_.size();
  if (turn.sending) device_.WaitFor(turn.sent);
  bool ranges = false;
  for (Section& section : sections_) {
    if (section.count <= kMaxDeltas) continue;
    ranges = true;
    SendRange(section, &turn);
    section.changed.clear();
  }
  SendChanges(&turn);
  for (Section& section : sections_) {
    section.changed.clear();
    section.count = 0;
  }
  device_.Mark(turn.sent);
  turn.sending = true;
  ++(ranges ? sent_whole_ : sent_as_deltas_);
}

void StepWords::SendRange(const Section& section, Staged* turn) {
  const size_t offset = static_cast<size_t>(section.first) * sizeof(int32_t);
  const size_t bytes = static_cast<size_t>(section.last + 1 - section.first) * sizeof(int32_t);
  std::byte* const staged = turn->ranges.data() + offset;
  std::memcpy(staged, mirror_.data() + section.first, bytes);
  device_.Copy(words_.data() + offset, staged, bytes, cudaMemcpyHostToDevice);
  sent_bytes_ += static_cast<int64_t>(bytes);
}

// Values right behind the places, so that one copy takes both.
void StepWords::SendChanges(Staged* turn) {
  auto* const staged = reinterpret_cast<int32_t*>(turn->changes.data());
  int32_t changed = 0;
  for (const Section& section : sections_) {
    std::copy(section.changed.begin(), section.changed.end(), staged + changed);
    changed += static_cast<int32_t>(section.changed.size());
  }
  if (changed == 0) return;
  for (int32_t i = 0; i < changed; ++i) staged[changed + i] = mirror_[staged[i]];
  const size_t bytes = 2 * static_cast<size_t>(changed) * sizeof(int32_t);
  device_.Copy(changes_.data(), staged, bytes, cudaMemcpyHostToDevice);
  sent_bytes_ += static_cast<int64_t>(bytes);
  if (!device_.ok()) return;
  const auto* const on_device = reinterpret_cast<const int32_t*>(changes_.data());
  device_.Check(cuda::ApplyDeltas({.words = reinterpret_cast<int32_t*>(words_.data()),
                                   .at = on_device,
                                   .values = on_device + changed,
                                   .count = changed},
                                  device_.stream()),
                "sending a step");
}

}  // namespace inferd
