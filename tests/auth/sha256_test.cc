#include "auth/sha256.h"

#include "gtest/gtest.h"

namespace inferd::auth {
namespace {

TEST(Sha256Test, GivesThePublishedDigests) {
  // FIPS 180-2, appendix B, and the digest of nothing.
  EXPECT_EQ(ToHex(Sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(ToHex(Sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256Test, HexReadsBothCasesAndNothingElse) {
  Sha256Digest digest;
  const std::string hex = ToHex(Sha256("abc"));
  std::string upper = hex;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  EXPECT_TRUE(FromHex(upper, &digest));
  EXPECT_EQ(ToHex(digest), hex);
  EXPECT_FALSE(FromHex(hex.substr(1), &digest));
  EXPECT_FALSE(FromHex(hex + "0", &digest));
  EXPECT_FALSE(FromHex("g" + hex.substr(1), &digest));
  EXPECT_FALSE(FromHex("", &digest));
}

TEST(Sha256Test, DigestsDifferInAnyByte) {
  const Sha256Digest a = Sha256("abc");
  EXPECT_TRUE(DigestsEqual(a, Sha256("abc")));
  for (size_t i = 0; i < a.size(); ++i) {
    Sha256Digest b = a;
    b[i] = static_cast<uint8_t>(b[i] ^ 1);
    EXPECT_FALSE(DigestsEqual(a, b)) << i;
  }
}

}  // namespace
}  // namespace inferd::auth
