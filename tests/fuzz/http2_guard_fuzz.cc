// Any bytes of both sides, in any pieces. What the guard lets through is counted by a
// reader of our own, and must stay within the limits.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/check.h"
#include "net/http2_frame_guard.h"

namespace inferd::net {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

Http2Limits SmallLimits() {
  Http2Limits limits;
  limits.max_frame_bytes = 64;
  limits.max_header_bytes = 48;
  limits.max_continuations = 3;
  limits.max_streams = 5;
  limits.max_new_streams = 20;
  limits.max_resets = 4;
  limits.max_pings = 3;
  limits.max_settings = 4;
  limits.max_empty_data = 3;
  limits.max_priority = 3;
  limits.max_window_updates = 6;
  limits.max_control_backlog = 6;
  return limits;
}

// What a server would have to do for these bytes.
struct Load {
  int64_t headers = 0;
  int64_t resets = 0;
  int64_t pings = 0;
  int64_t settings = 0;
  int64_t empty_data = 0;
  int64_t others = 0;
  int64_t window_updates = 0;
  int64_t data = 0;
  int64_t ended = 0;
  int64_t largest_block = 0;
};

Load Measure(std::string_view bytes) {
  Load load;
  int64_t block = 0;
  while (bytes.size() >= 9) {
    const auto at = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(bytes[i])); };
    const size_t length = at(0) << 16 | at(1) << 8 | at(2);
    const size_t type = at(3);
    const bool first_flag = (at(4) & 1) != 0;
    if (type == 0) ++load.data;
    if (type == 0 && length == 0 && !first_flag) ++load.empty_data;
    if (type == 1) ++load.headers;
    if ((type == 0 || type == 1) && first_flag) ++load.ended;
    if (type == 1) block = 0;
    if (type == 1 || type == 9) block += static_cast<int64_t>(length);
    load.largest_block = std::max(load.largest_block, block);
    if (type == 3) ++load.resets;
    if (type == 4 || type == 7) ++load.settings;
    if (type == 6) ++load.pings;
    if (type == 8) ++load.window_updates;
    if (type == 2 || type > 9) ++load.others;
    bytes.remove_prefix(std::min(bytes.size(), 9 + length));
  }
  return load;
}

// The input: pieces, each a byte (side and length) and so many bytes.
struct Piece {
  bool server = false;
  std::vector<uint8_t> bytes;
};

std::vector<Piece> Pieces(std::span<const uint8_t> input) {
  std::vector<Piece> pieces;
  while (!input.empty()) {
    Piece piece;
    piece.server = (input[0] & 0x80) != 0;
    const size_t length = std::min<size_t>(input[0] & 0x7F, input.size() - 1);
    piece.bytes.assign(input.begin() + 1, input.begin() + 1 + static_cast<ptrdiff_t>(length));
    input = input.subspan(1 + length);
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

struct Outcome {
  std::string forwarded;
  std::string server;
  std::optional<Http2Violation> violation;
};

Outcome Run(const std::vector<Piece>& pieces, bool byte_by_byte) {
  Http2FrameGuard guard(SmallLimits(), 0);
  Outcome outcome;
  const std::string_view opening = kPreface;
  guard.FeedClient({reinterpret_cast<const uint8_t*>(opening.data()), opening.size()}, 0);
  for (const Piece& piece : pieces) {
    const size_t step = byte_by_byte ? 1 : std::max<size_t>(1, piece.bytes.size());
    for (size_t at = 0; at < piece.bytes.size() && !outcome.violation; at += step) {
      const auto bytes = std::span(piece.bytes).subspan(at, step);
      if (piece.server) {
        outcome.server.append(bytes.begin(), bytes.end());
        outcome.violation = guard.FeedServer(bytes, 0);
      } else {
        const auto verdict = guard.FeedClient(bytes, 0);
        INFERD_CHECK(verdict.forward <= bytes.size());
        outcome.forwarded.append(bytes.begin(),
                                 bytes.begin() + static_cast<ptrdiff_t>(verdict.forward));
        outcome.violation = verdict.violation;
      }
      INFERD_CHECK(guard.CheckIntegrity().ok());
    }
  }
  return outcome;
}

void CheckWithinBudget(const Outcome& outcome) {
  const Http2Limits limits = SmallLimits();
  const Load client = Measure(outcome.forwarded);
  const Load server = Measure(outcome.server);
  INFERD_CHECK(client.headers <= limits.max_new_streams);
  INFERD_CHECK(client.largest_block <= limits.max_header_bytes);
  INFERD_CHECK(client.empty_data <= limits.max_empty_data);
  INFERD_CHECK(client.others <= limits.max_priority);
  INFERD_CHECK(client.resets <= limits.max_resets + server.ended);
  INFERD_CHECK(client.settings <= limits.max_settings + server.settings);
  INFERD_CHECK(client.pings <= limits.max_pings + server.pings + server.data + server.headers);
  INFERD_CHECK(client.window_updates <= limits.max_window_updates + 2 * server.data);
}

}  // namespace
}  // namespace inferd::net

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace inferd::net;  // NOLINT(google-build-using-namespace)
  const auto pieces = Pieces({data, size});
  const Outcome whole = Run(pieces, /*byte_by_byte=*/false);
  CheckWithinBudget(whole);
  const Outcome split = Run(pieces, /*byte_by_byte=*/true);
  INFERD_CHECK(split.forwarded == whole.forwarded);
  INFERD_CHECK(split.violation == whole.violation);
  return 0;
}
