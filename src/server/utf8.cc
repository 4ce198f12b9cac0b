#include "server/utf8.h"

#include <cstddef>

namespace inferd {
namespace {

// Length of the well-formed sequence at the front, or of the maximal ill-formed
// part as a negative number (Unicode 15, table 3-7).
int SequenceLength(std::string_view s) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  int length = 0;
  unsigned low = 0x80;
  unsigned high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return -1;
  }
  for (int i = 1; i < length; ++i) {
    const auto index = static_cast<size_t>(i);
    if (index >= s.size() || at(index) < low || at(index) > high) return -i;
    low = 0x80;
    high = 0xBF;
  }
  return length;
}

}  // namespace

std::string LossyUtf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const int length = SequenceLength(bytes);
    const auto used = static_cast<size_t>(length < 0 ? -length : length);
    if (length > 0) {
      out += bytes.substr(0, used);
    } else {
      out += "\xEF\xBF\xBD";
    }
    bytes.remove_prefix(used);
  }
  return out;
}

}  // namespace inferd
