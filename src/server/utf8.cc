#include "server/utf8.h"

#include "inferd/text/utf8.h"

namespace inferd {

std::string LossyUtf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  const size_t cut_off = text::AppendLossyUtf8(bytes, out);
  if (cut_off > 0) out += text::kReplacementCharacter;
  return out;
}

}  // namespace inferd
