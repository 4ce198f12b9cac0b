#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "inferd/base/status.h"

namespace inferd {

struct TlsFiles {
  std::string certificate;  // PEM, the chain
  std::string key;          // PEM, readable by its owner alone
  std::string client_ca;    // PEM; not empty: clients must show a certificate of these
};

// The server's TLS state: 1.2 and 1.3, ALPN http/1.1, else h2. New connections use
// what the last good Reload read; open ones keep theirs. Thread-safe.
class TlsServerContext {
 public:
  // INVALID_ARGUMENT naming the file: unreadable, not PEM, key of another
  // certificate, key readable by others.
  static StatusOr<std::shared_ptr<TlsServerContext>> Load(TlsFiles files);
  virtual ~TlsServerContext() = default;
  // Reads the files again; on an error the old state stays.
  virtual Status Reload() = 0;
  virtual int64_t not_after_unix_s() const = 0;  // the earliest end in the chain
};

}  // namespace inferd
