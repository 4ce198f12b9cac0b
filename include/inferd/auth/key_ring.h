// API keys: who may use which models, and how much.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/random.h"
#include "inferd/base/status.h"

namespace inferd {

// One key's rights; the key itself is not in here. Plain data.
struct ApiKey {
  std::string id;                   // for logs: 1 to 64 of [A-Za-z0-9._-]
  std::string tenant;               // whose cache and quota it shares; default: the id
  std::vector<std::string> models;  // names it may use; empty: all
  int64_t requests_per_minute = 0;  // of the tenant; 0: no limit
  int64_t tokens_per_minute = 0;    // prompt and generated; likewise
  int32_t max_concurrent = 0;       // requests at once; likewise
  bool admin = false;               // may also use the admin service

  bool MayUse(std::string_view model) const;
};

// The keys of one file. Immutable, so shared between threads.
class KeyRing {
 public:
  static constexpr int64_t kMaxFileBytes = 4 << 20;
  static constexpr size_t kMaxKeys = 10'000;
  static constexpr size_t kMaxModels = 64;  // of one key
  static constexpr int64_t kMaxLimit = 1'000'000'000;

  // One entry of the file: the hash of a secret and what it allows.
  struct Entry {
    std::array<uint8_t, 32> sha256{};
    ApiKey key;
  };

  // YAML as docs/security.md shows it. INVALID_ARGUMENT naming line and field, and
  // never a value, which may be a secret in the wrong place.
  static StatusOr<std::shared_ptr<const KeyRing>> Parse(std::string_view yaml,
                                                        std::string_view origin);
  static StatusOr<std::shared_ptr<const KeyRing>> Load(const std::string& path);

  // The key that `secret` is, or null. Takes the same time for every wrong one: all
  // hashes are compared, each in constant time.
  const ApiKey* Find(std::string_view secret) const;
  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }

 private:
  explicit KeyRing(std::vector<Entry> entries) : entries_(std::move(entries)) {}
  const std::vector<Entry> entries_;
};

// True for what may be an id or a tenant: 1 to 64 of [A-Za-z0-9._-].
bool IsKeyName(std::string_view text);

// A new secret ("sk-inferd-" and 43 characters of base64url, 256 random bits) and
// the lines for the file that hold its hash.
struct NewKey {
  std::string secret;
  std::string yaml;
};
// An empty id becomes "key-" and eight random hexadecimal digits. INVALID_ARGUMENT
// for rights that Parse would refuse.
StatusOr<NewKey> GenerateKey(ApiKey rights, EntropySource& entropy);

}  // namespace inferd
