#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "inferd/base/hash.h"

namespace inferd {

using SealTag = std::array<std::byte, 16>;

// Tags for the messages of one direction of a connection, in their order (GMAC: AES-128 in
// Galois mode without a plaintext, by the library that also does TLS). Only who has the key
// can compute them, and no message has the tag of another one. One thread.
class FrameSeal {
 public:
  // `key` is of this direction of this connection alone.
  explicit FrameSeal(const HashKey& key);
  ~FrameSeal();
  FrameSeal(FrameSeal&&) noexcept;
  FrameSeal& operator=(FrameSeal&&) noexcept;

  // Of the next message, which is `head` and then `body`.
  SealTag Next(std::span<const std::byte> head, std::span<const std::byte> body);
  // Whether the next message has this tag. Takes the same time whatever it is.
  bool Fits(std::span<const std::byte> head, std::span<const std::byte> body, const SealTag& tag);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace inferd
