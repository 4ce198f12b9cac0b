#include "inferd/base/hash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace inferd {
namespace {

// Vectors published with the algorithm: key 00..0f, message 00..(n-1).
HashKey ReferenceKey() { return {0x0706050403020100, 0x0f0e0d0c0b0a0908}; }

std::vector<std::byte> Message(size_t n) {
  std::vector<std::byte> bytes(n);
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i);
  return bytes;
}

TEST(SipHash128, PublishedVectorEmpty) {
  const Hash128 h = SipHash128(ReferenceKey(), {});
  EXPECT_EQ(h.lo, 0xe6a825ba047f81a3);
  EXPECT_EQ(h.hi, 0x930255c71472f66d);
}

TEST(SipHash128, PublishedVectorOneByte) {
  const auto message = Message(1);
  const Hash128 h = SipHash128(ReferenceKey(), message);
  EXPECT_EQ(h.lo, 0x44af996bd8c187da);
  EXPECT_EQ(h.hi, 0x45fc229b11597634);
}

TEST(SipHash128, EveryLengthAndKeyDiffers) {
  std::vector<Hash128> seen;
  for (size_t n = 0; n < 40; ++n) {
    const auto message = Message(n);
    seen.push_back(SipHash128(ReferenceKey(), message));
    seen.push_back(SipHash128({1, 2}, message));
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
}

}  // namespace
}  // namespace inferd
