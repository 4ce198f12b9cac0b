#include "net/http2_goaway.h"

namespace inferd::net {
namespace {

constexpr char kType = 7;

void PutBigEndian(std::string& out, uint32_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift));
  }
}

}  // namespace

std::string Http2Goaway(uint32_t last_stream, uint32_t error_code, std::string_view reason) {
  std::string frame;
  PutBigEndian(frame, static_cast<uint32_t>(8 + reason.size()), 3);
  frame.push_back(kType);
  frame.push_back(0);         // flags
  PutBigEndian(frame, 0, 4);  // of the connection
  PutBigEndian(frame, last_stream, 4);
  PutBigEndian(frame, error_code, 4);
  frame.append(reason);
  return frame;
}

}  // namespace inferd::net
