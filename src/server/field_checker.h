#pragma once

#include <string>
#include <string_view>

#include "inferd/base/status.h"

namespace inferd {

// Keeps the first error of a list of checks, so that a validator reads as a
// table. One thread.
class FieldChecker {
 public:
  // A number in [low, high]; unset leaves `out` alone. NaN is out of every range.
  // `range` is how the range is written in the error.
  template <typename T, typename Out>
  void Number(std::string_view field, bool present, T value, T low, T high, std::string_view range,
              Out* out) {
    if (!present || !status_.ok()) return;
    if (!(value >= low && value <= high)) {
      status_ = InvalidField(field, "must be in " + std::string(range));
      return;
    }
    *out = static_cast<Out>(value);
  }

  void Require(bool condition, std::string_view field, std::string_view message,
               std::string_view reason = "INVALID_PARAMETER") {
    if (status_.ok() && !condition) status_ = InvalidField(field, message, reason);
  }

  void Unsupported(bool used, std::string_view field, std::string_view why) {
    Require(!used, field, why, "UNSUPPORTED_PARAMETER");
  }

  void Merge(const Status& status) {
    if (status_.ok()) status_ = status;
  }

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }

 private:
  Status status_;
};

}  // namespace inferd
