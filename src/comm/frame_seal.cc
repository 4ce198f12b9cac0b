#include "comm/frame_seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstring>

#include "inferd/base/check.h"

namespace inferd {
namespace {

// The library counts in int.
constexpr size_t kPieceBytes = size_t{1} << 30;

void Absorb(EVP_CIPHER_CTX* context, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t piece = std::min(bytes.size(), kPieceBytes);
    int size = 0;
    INFERD_CHECK(EVP_EncryptUpdate(context, nullptr, &size,
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(piece)) == 1);
    bytes = bytes.subspan(piece);
  }
}

}  // namespace

struct FrameSeal::State {
  State() : context(EVP_CIPHER_CTX_new()) { INFERD_CHECK(context != nullptr); }
  ~State() { EVP_CIPHER_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  EVP_CIPHER_CTX* const context;
  uint64_t number = 0;  // of messages so far
};

FrameSeal::FrameSeal(const HashKey& key) : state_(std::make_unique<State>()) {
  std::array<unsigned char, sizeof(HashKey)> bytes{};
  std::memcpy(bytes.data(), &key, bytes.size());
  INFERD_CHECK(
      EVP_EncryptInit_ex(state_->context, EVP_aes_128_gcm(), nullptr, bytes.data(), nullptr) == 1);
}

FrameSeal::~FrameSeal() = default;
FrameSeal::FrameSeal(FrameSeal&&) noexcept = default;
FrameSeal& FrameSeal::operator=(FrameSeal&&) noexcept = default;

SealTag FrameSeal::Next(std::span<const std::byte> head, std::span<const std::byte> body) {
  // Never twice the same with one key.
  std::array<unsigned char, 12> nonce{};
  const uint64_t number = ++state_->number;
  std::memcpy(nonce.data(), &number, sizeof(number));
  EVP_CIPHER_CTX* const context = state_->context;
  INFERD_CHECK(EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) == 1);
  Absorb(context, head);
  Absorb(context, body);
  SealTag tag;
  int size = 0;
  std::array<unsigned char, 16> none{};
  INFERD_CHECK(EVP_EncryptFinal_ex(context, none.data(), &size) == 1);
  INFERD_CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, static_cast<int>(tag.size()),
                                   tag.data()) == 1);
  return tag;
}

bool FrameSeal::Fits(std::span<const std::byte> head, std::span<const std::byte> body,
                     const SealTag& tag) {
  const SealTag ours = Next(head, body);
  return CRYPTO_memcmp(ours.data(), tag.data(), tag.size()) == 0;
}

}  // namespace inferd
