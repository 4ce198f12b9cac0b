// A text that remembers which of its bytes may become special tokens, through
// normalisation.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace inferd::text {

// Runs of trusted and untrusted bytes, in order.
class TrustMap {
 public:
  void Append(size_t bytes, bool trusted);
  // Whether all bytes of [begin, end) are trusted; true for an empty range.
  bool AllTrusted(size_t begin, size_t end) const;
  // Where the run that holds `position` ends; size() past all runs.
  size_t RunEnd(size_t position) const;
  // Appends the part [begin, end) of `other`.
  void AppendSlice(const TrustMap& other, size_t begin, size_t end);
  size_t size() const { return runs_.empty() ? 0 : runs_.back().end; }

 private:
  struct Run {
    size_t end;
    bool trusted;
  };
  // The first run that ends after `position`.
  std::vector<Run>::const_iterator RunAt(size_t position) const;

  std::vector<Run> runs_;
};

struct MarkedText {
  std::string text;
  TrustMap trust;  // of as many bytes as `text`

  MarkedText Slice(size_t begin, size_t end) const;
};

// Builds the normalised form of a text front to back: each output byte comes from
// a stretch of the source and is trusted if all of that is.
class MarkedTextBuilder {
 public:
  // `source` must outlive the builder.
  explicit MarkedTextBuilder(const MarkedText& source) : source_(source) {}

  void Copy(size_t begin, size_t end);
  // Puts `out` in place of [begin, end). An empty stretch is an insertion, which
  // takes the trust of the byte that follows it.
  void Replace(size_t begin, size_t end, std::string_view out);
  size_t size() const { return result_.text.size(); }
  MarkedText Take() { return std::move(result_); }

 private:
  const MarkedText& source_;
  MarkedText result_;
};

}  // namespace inferd::text
