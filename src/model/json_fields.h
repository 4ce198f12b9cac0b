#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/base/status.h"
#include "model/json.h"

namespace inferd::model {

// Reads the fields of one JSON object, each within a range. The first problem
// sticks in status(); from then on the values mean nothing. A null counts as
// absent. The object must outlive the reader.
class JsonFields {
 public:
  // `where` starts every message: "config.json" or "config.json: rope_scaling".
  JsonFields(const nlohmann::json& object, std::string where);

  const Status& status() const { return status_; }
  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  // The value, or null when absent.
  const nlohmann::json* Find(std::string_view key) const;

  int32_t Int(std::string_view key, int32_t low, int32_t high);
  int32_t IntOr(std::string_view key, int32_t absent, int32_t low, int32_t high);
  // Finite, in [low, high].
  double Number(std::string_view key, double low, double high);
  double NumberOr(std::string_view key, double absent, double low, double high);
  bool BoolOr(std::string_view key, bool absent);
  std::string StringOr(std::string_view key, std::string_view absent);
  // One token id or a list of at most 64, each in [0, vocab_size).
  std::vector<TokenId> TokenIds(std::string_view key, int32_t vocab_size);

  void Malformed(std::string_view key, std::string_view rule);    // FAILED_PRECONDITION
  void Unsupported(std::string_view key, std::string_view what);  // UNIMPLEMENTED

 private:
  void Fail(StatusCode code, std::string_view key, std::string_view text);

  const nlohmann::json& object_;
  std::string where_;
  Status status_;
};

}  // namespace inferd::model
