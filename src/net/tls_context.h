#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <mutex>

#include "inferd/net/tls.h"

namespace inferd::net {

// What a connection needs of the context it was accepted with.
class TlsServerContextImpl final : public TlsServerContext {
 public:
  explicit TlsServerContextImpl(TlsFiles files) : files_(std::move(files)) {}
  Status Reload() override;
  int64_t not_after_unix_s() const override;
  // Of the last good Reload.
  std::shared_ptr<SSL_CTX> Current() const;

 private:
  const TlsFiles files_;
  mutable std::mutex mutex_;
  std::shared_ptr<SSL_CTX> context_;  // under mutex_
  int64_t not_after_unix_s_ = 0;      // under mutex_
};

}  // namespace inferd::net
