#include "text/template/marked_string.h"

#include <algorithm>

namespace inferd::chat_template {

size_t MarkedString::RunAt(size_t position) const {
  auto it = std::upper_bound(runs_.begin(), runs_.end(), position,
                             [](size_t value, const Run& run) { return value < run.end; });
  return static_cast<size_t>(it - runs_.begin());
}

bool MarkedString::TrustedAt(size_t position) const {
  if (runs_.empty()) return trusted_;
  const size_t i = RunAt(position);
  return i < runs_.size() && runs_[i].trusted;
}

void MarkedString::Append(std::string_view text, bool trusted) {
  if (text.empty()) return;
  const auto old_end = static_cast<uint32_t>(text_.size());
  const auto new_end = static_cast<uint32_t>(text_.size() + text.size());
  text_.append(text);
  if (old_end == 0) {
    runs_.clear();
    trusted_ = trusted;
    return;
  }
  if (runs_.empty()) {
    if (trusted == trusted_) return;
    runs_.push_back({old_end, trusted_});
    trusted_ = false;  // mixed
  }
  if (runs_.back().trusted == trusted) {
    runs_.back().end = new_end;
  } else {
    runs_.push_back({new_end, trusted});
  }
}

void MarkedString::AppendRange(const MarkedString& other, size_t begin, size_t end) {
  const std::string_view text = other.text_;
  other.ForEachRun(begin, end, [&](size_t from, size_t to, bool trusted) {
    Append(text.substr(from, to - from), trusted);
  });
}

MarkedString MarkedString::Substring(size_t begin, size_t end) const {
  MarkedString out(std::string(), trusted_);
  out.AppendRange(*this, begin, end);
  return out;
}

}  // namespace inferd::chat_template
