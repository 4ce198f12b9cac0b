#pragma once

#include <memory>
#include <mutex>

#include "inferd/net/http.h"

namespace inferd {

// Hears of an HTTP exchange from its first moment, before it is known what will
// answer it, and passes on what it hears to whom it is given. Thread-safe.
class DisconnectRelay final : public HttpExchangeEvents {
 public:
  // Once. Tells at once when the client has gone already.
  void SetTarget(std::shared_ptr<HttpExchangeEvents> target) {
    bool gone = false;
    {
      std::lock_guard lock(mutex_);
      gone = gone_;
      if (!gone) target_ = target;
    }
    if (gone) target->OnDisconnect();
  }

  bool gone() const {
    std::lock_guard lock(mutex_);
    return gone_;
  }

  void OnWritten(bool ok) override {
    if (const auto target = Target()) target->OnWritten(ok);
  }

  void OnDisconnect() override {
    std::shared_ptr<HttpExchangeEvents> target;
    {
      std::lock_guard lock(mutex_);
      gone_ = true;
      target = std::move(target_);
    }
    if (target) target->OnDisconnect();
  }

 private:
  std::shared_ptr<HttpExchangeEvents> Target() const {
    std::lock_guard lock(mutex_);
    return target_;
  }

  mutable std::mutex mutex_;
  bool gone_ = false;                           // guarded by mutex_
  std::shared_ptr<HttpExchangeEvents> target_;  // guarded by mutex_
};

}  // namespace inferd
