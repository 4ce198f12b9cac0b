#include "backends/cuda/arena_map.h"

#include <algorithm>
#include <iterator>

#include "inferd/base/check.h"

namespace inferd {

ArenaMap::ArenaMap(size_t bytes) : bytes_(bytes / kUnit * kUnit) {
  if (bytes_ > 0) free_parts_[0] = bytes_;
}

std::optional<size_t> ArenaMap::Take(size_t bytes) {
  const size_t wanted = std::max<size_t>(1, (bytes + kUnit - 1) / kUnit) * kUnit;
  const auto it = std::find_if(free_parts_.begin(), free_parts_.end(),
                               [&](const auto& part) { return part.second >= wanted; });
  if (it == free_parts_.end()) return std::nullopt;
  const auto [offset, size] = *it;
  free_parts_.erase(it);
  if (size > wanted) free_parts_[offset + wanted] = size - wanted;
  taken_parts_[offset] = wanted;
  taken_ += wanted;
  return offset;
}

void ArenaMap::Give(size_t offset) {
  const auto it = taken_parts_.find(offset);
  INFERD_CHECK(it != taken_parts_.end());
  const size_t size = it->second;
  taken_parts_.erase(it);
  taken_ -= size;
  auto [part, inserted] = free_parts_.emplace(offset, size);
  INFERD_CHECK(inserted);
  const auto after = std::next(part);
  if (after != free_parts_.end() && part->first + part->second == after->first) {
    part->second += after->second;
    free_parts_.erase(after);
  }
  if (part != free_parts_.begin()) {
    const auto before = std::prev(part);
    if (before->first + before->second == part->first) {
      before->second += part->second;
      free_parts_.erase(part);
    }
  }
}

Status ArenaMap::CheckIntegrity() const {
  size_t at = 0;
  size_t taken = 0;
  auto t = taken_parts_.begin();
  auto f = free_parts_.begin();
  bool last_was_free = false;
  while (t != taken_parts_.end() || f != free_parts_.end()) {
    const bool is_free = t == taken_parts_.end() || (f != free_parts_.end() && f->first < t->first);
    const auto [offset, size] = is_free ? *f++ : *t++;
    if (offset != at || size == 0) return InternalError("arena: parts overlap or leave a hole");
    if (is_free && last_was_free) return InternalError("arena: two free parts touch");
    if (!is_free) taken += size;
    last_was_free = is_free;
    at += size;
  }
  if (at != bytes_ || taken != taken_) return InternalError("arena: sizes do not add up");
  return OkStatus();
}

}  // namespace inferd
