#pragma once

#include <atomic>

#include "comm/byte_link.h"
#include "inferd/base/clock.h"
#include "inferd/base/unique_fd.h"

namespace inferd {

// Bytes over a connection.
class SocketLink final : public ByteLink {
 public:
  // `socket` is connected and non-blocking. `clock` outlives the link.
  SocketLink(UniqueFd socket, const Clock& clock);
  // What was written still arrives.
  ~SocketLink() override = default;

  Status Write(std::span<const std::byte> bytes, int64_t deadline_us) override;
  StatusOr<size_t> ReadSome(std::span<std::byte> into, int64_t deadline_us) override;
  void Break() override;

 private:
  // Waits until the socket is ready for `events`, or broken.
  Status Await(short events, int64_t deadline_us) const;

  const UniqueFd socket_;
  const Clock& clock_;
};

}  // namespace inferd
