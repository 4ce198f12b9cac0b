// Any bytes from the other side of a host channel, cut anywhere: what is delivered was
// sent as a whole and in order, or nothing is delivered any more.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "comm/framed_channel.h"
#include "inferd/base/check.h"

namespace inferd {
namespace {

// Hands out the input, in pieces of changing length.
class InputLink final : public ByteLink {
 public:
  explicit InputLink(std::span<const std::byte> bytes) : left_(bytes) {}
  Status Write(std::span<const std::byte>, int64_t) override { return OkStatus(); }
  StatusOr<size_t> ReadSome(std::span<std::byte> into, int64_t) override {
    if (left_.empty()) return UnavailableError("the end");
    const size_t n = std::min({into.size(), left_.size(), ++piece_ % 50 + 1});
    std::memcpy(into.data(), left_.data(), n);
    left_ = left_.subspan(n);
    return n;
  }
  void Break() override {}

 private:
  std::span<const std::byte> left_;
  size_t piece_ = 0;
};

void Run(std::span<const std::byte> bytes) {
  const ManualClock clock;
  HostChannelOptions options;
  options.epoch = 7;
  options.max_message_bytes = 4096;
  FramedChannel channel(std::make_unique<InputLink>(bytes), options, FrameKeys{}, clock);
  size_t at = 0;
  uint64_t sequence = 0;
  for (;;) {
    const auto message = channel.Receive(0);
    if (!message.ok()) break;
    // By hand: header and payload as they lie in the input.
    FrameHeader header;
    INFERD_CHECK(bytes.size() - at >= sizeof(header));
    std::memcpy(&header, bytes.data() + at, sizeof(header));
    INFERD_CHECK(header.epoch == 7 && header.sequence == ++sequence);
    INFERD_CHECK(header.kind == message.value().kind);
    INFERD_CHECK(std::ranges::equal(message.value().payload,
                                    bytes.subspan(at + sizeof(header), header.size)));
    at += sizeof(header) + header.size;
  }
  const Status first = channel.Receive(0).status();
  INFERD_CHECK(!first.ok() && channel.Receive(0).status().code() == first.code());
}

}  // namespace
}  // namespace inferd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  inferd::Run(std::as_bytes(std::span(data, size)));
  return 0;
}
