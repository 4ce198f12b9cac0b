// API keys: who may use which models, and how much.
#pragma once

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

  // YAML as docs/security.md shows it. INVALID_ARGUMENT naming line and field, and
  // never a secret.
  static StatusOr<std::shared_ptr<const KeyRing>> Parse(std::string_view yaml,
                                                        std::string_view origin);
  static StatusOr<std::shared_ptr<const KeyRing>> Load(const std::string& path);

  // The key that `secret` is, or null. Takes the same time for every wrong one: all
  // hashes are compared, each in constant time.
  const ApiKey* Find(std::string_view secret) const;
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string sha256;  // 32 bytes
    ApiKey key;
  };
  std::vector<Entry> entries_;
};

// A new secret ("sk-inferd-" and 43 characters of base64url, 256 random bits) and
// the lines for the file that hold its hash.
struct NewKey {
  std::string secret;
  std::string yaml;
};
NewKey GenerateKey(const ApiKey& rights, EntropySource& entropy);

}  // namespace inferd
