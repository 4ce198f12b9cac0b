// The normalizers of tokenizer.json: what happens to a text before it is split.
#pragma once

#include <memory>
#include <vector>

#include "inferd/base/status.h"
#include "text/json_view.h"
#include "text/marked_text.h"

namespace inferd::text {

// One step. Immutable: any thread.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // INVALID_ARGUMENT when the text grows past any use.
  virtual StatusOr<MarkedText> Apply(MarkedText text) const = 0;
};

// The steps in order; a Sequence is flattened. NFC, NFD, NFKC, NFKD, Lowercase,
// Strip, Prepend and Replace; any other type is FAILED_PRECONDITION that names it.
class NormalizerChain {
 public:
  static StatusOr<NormalizerChain> FromJson(const JsonView& view);

  bool empty() const { return steps_.empty(); }
  StatusOr<MarkedText> Apply(MarkedText text) const;

 private:
  std::vector<std::unique_ptr<const Normalizer>> steps_;
};

}  // namespace inferd::text
