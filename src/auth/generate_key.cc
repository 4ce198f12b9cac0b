#include <array>
#include <cstdint>

#include "auth/key_file.h"
#include "auth/sha256.h"
#include "inferd/auth/key_ring.h"

namespace inferd {
namespace {

constexpr size_t kSecretBytes = 32;

// RFC 4648 section 5, without padding.
std::string Base64Url(const std::array<uint8_t, kSecretBytes>& bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  uint32_t bits = 0;
  int num_bits = 0;
  for (const uint8_t byte : bytes) {
    bits = bits << 8 | byte;
    num_bits += 8;
    while (num_bits >= 6) {
      num_bits -= 6;
      text += kDigits[bits >> num_bits & 63];
    }
  }
  if (num_bits > 0) text += kDigits[bits << (6 - num_bits) & 63];
  return text;
}

std::string RandomId(EntropySource& entropy) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  uint64_t bits = entropy.Next64();
  std::string id = "key-";
  for (int i = 0; i < 8; ++i, bits >>= 4) id += kDigits[bits & 15];
  return id;
}

}  // namespace

StatusOr<NewKey> GenerateKey(ApiKey rights, EntropySource& entropy) {
  if (rights.id.empty()) rights.id = RandomId(entropy);
  std::array<uint8_t, kSecretBytes> bytes;
  for (size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t bits = entropy.Next64();
    for (size_t j = 0; j < 8; ++j) bytes[i + j] = static_cast<uint8_t>(bits >> (8 * j));
  }
  NewKey key;
  key.secret = "sk-inferd-" + Base64Url(bytes);
  if (!IsKeyName(rights.id) || (!rights.tenant.empty() && !IsKeyName(rights.tenant))) {
    return InvalidArgumentError(
        "id and tenant: expected 1 to 64 letters, digits, dots, dashes or underscores");
  }
  key.yaml = auth::KeyFileLines({auth::Sha256(key.secret), std::move(rights)});
  // What it writes must be what it reads.
  INFERD_RETURN_IF_ERROR(KeyRing::Parse("keys:\n" + key.yaml, "the new key").status());
  return key;
}

}  // namespace inferd
