// Text whose every byte remembers whether it is trusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace inferd::chat_template {

// UTF-8 with the origin of each piece: trusted (written in the template or the
// configuration) or not (came in with the request). Pieces of one origin are
// joined. A value; one thread at a time unless const.
class MarkedString {
 public:
  MarkedString() = default;
  MarkedString(std::string text, bool trusted) : text_(std::move(text)), trusted_(trusted) {}

  const std::string& text() const { return text_; }
  size_t size() const { return text_.size(); }
  bool empty() const { return text_.empty(); }

  // Whether all of it is trusted. An empty string keeps what it was made with.
  bool trusted() const { return trusted_; }
  bool TrustedAt(size_t position) const;
  // Memory it takes beside the text, for charging.
  size_t run_bytes() const { return runs_.size() * sizeof(Run); }

  void Append(std::string_view text, bool trusted);
  void Append(const MarkedString& other) { AppendRange(other, 0, other.size()); }
  // Bytes [begin, end) of `other`, which is not this string.
  void AppendRange(const MarkedString& other, size_t begin, size_t end);
  MarkedString Substring(size_t begin, size_t end) const;

  // Calls visit(begin, end, trusted) for each piece of bytes [begin, end).
  template <typename Visitor>
  void ForEachRun(size_t begin, size_t end, Visitor visit) const {
    if (runs_.empty()) {
      if (begin < end) visit(begin, end, trusted_);
      return;
    }
    for (size_t i = RunAt(begin); begin < end && i < runs_.size(); ++i) {
      const size_t run_end = runs_[i].end < end ? runs_[i].end : end;
      visit(begin, run_end, runs_[i].trusted);
      begin = run_end;
    }
  }

 private:
  struct Run {
    uint32_t end;  // exclusive byte position
    bool trusted;
  };
  size_t RunAt(size_t position) const;

  std::string text_;
  std::vector<Run> runs_;  // empty while all of the text has one origin
  bool trusted_ = true;
};

}  // namespace inferd::chat_template
