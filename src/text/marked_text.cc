#include "text/marked_text.h"

#include <algorithm>

namespace inferd::text {

void TrustMap::Append(size_t bytes, bool trusted) {
  if (bytes == 0) return;
  if (!runs_.empty() && runs_.back().trusted == trusted) {
    runs_.back().end += bytes;
  } else {
    runs_.push_back({size() + bytes, trusted});
  }
}

std::vector<TrustMap::Run>::const_iterator TrustMap::RunAt(size_t position) const {
  return std::upper_bound(runs_.begin(), runs_.end(), position,
                          [](size_t p, const Run& run) { return p < run.end; });
}

bool TrustMap::AllTrusted(size_t begin, size_t end) const {
  // Runs alternate, so a trusted stretch lies within one.
  if (begin >= end) return true;
  const auto run = RunAt(begin);
  return run != runs_.end() && run->trusted && run->end >= end;
}

size_t TrustMap::RunEnd(size_t position) const {
  const auto run = RunAt(position);
  return run == runs_.end() ? size() : run->end;
}

void TrustMap::AppendSlice(const TrustMap& other, size_t begin, size_t end) {
  for (auto run = other.RunAt(begin); begin < end && run != other.runs_.end(); ++run) {
    const size_t stop = std::min(end, run->end);
    Append(stop - begin, run->trusted);
    begin = stop;
  }
}

MarkedText MarkedText::Slice(size_t begin, size_t end) const {
  MarkedText slice;
  slice.text = text.substr(begin, end - begin);
  slice.trust.AppendSlice(trust, begin, end);
  return slice;
}

void MarkedTextBuilder::Copy(size_t begin, size_t end) {
  result_.text.append(source_.text, begin, end - begin);
  result_.trust.AppendSlice(source_.trust, begin, end);
}

void MarkedTextBuilder::Replace(size_t begin, size_t end, std::string_view out) {
  result_.text.append(out);
  const bool trusted =
      begin < end ? source_.trust.AllTrusted(begin, end)
                  : begin < source_.text.size() && source_.trust.AllTrusted(begin, begin + 1);
  result_.trust.Append(out.size(), trusted);
}

}  // namespace inferd::text
