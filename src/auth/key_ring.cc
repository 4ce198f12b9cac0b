#include "inferd/auth/key_ring.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "auth/key_file.h"
#include "auth/sha256.h"

namespace inferd {

bool ApiKey::MayUse(std::string_view model) const {
  return models.empty() || std::find(models.begin(), models.end(), model) != models.end();
}

bool IsKeyName(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

StatusOr<std::shared_ptr<const KeyRing>> KeyRing::Parse(std::string_view yaml,
                                                        std::string_view origin) {
  if (static_cast<int64_t>(yaml.size()) > kMaxFileBytes) {
    return InvalidArgumentError(std::string(origin) + ": larger than 4MiB");
  }
  INFERD_ASSIGN_OR_RETURN(std::vector<Entry> entries, auth::ParseKeyFile(yaml, origin));
  return std::shared_ptr<const KeyRing>(new KeyRing(std::move(entries)));
}

StatusOr<std::shared_ptr<const KeyRing>> KeyRing::Load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) {
    text.resize(kMaxFileBytes + 1);
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(file.gcount()));
  }
  if (!file && !file.eof()) {
    return InvalidArgumentError(path + ": cannot be read: " + std::strerror(errno));
  }
  return Parse(text, path);
}

const ApiKey* KeyRing::Find(std::string_view secret) const {
  const auth::Sha256Digest digest = auth::Sha256(secret);
  const ApiKey* found = nullptr;
  // Never left early: the time tells nothing of which entry matched, or how far.
  for (const Entry& entry : entries_) {
    found = auth::DigestsEqual(entry.sha256, digest) ? &entry.key : found;
  }
  return found;
}

}  // namespace inferd
