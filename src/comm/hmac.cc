#include "comm/hmac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "inferd/base/check.h"

namespace inferd {

HmacTag HmacSha256(std::string_view key, std::span<const std::byte> data) {
  HmacTag tag;
  unsigned int size = 0;
  INFERD_CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                    reinterpret_cast<const unsigned char*>(data.data()), data.size(),
                    reinterpret_cast<unsigned char*>(tag.data()), &size) != nullptr);
  INFERD_CHECK(size == tag.size());
  return tag;
}

bool SameTag(const HmacTag& a, const HmacTag& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace inferd
