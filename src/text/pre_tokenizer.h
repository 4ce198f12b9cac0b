// The pre-tokenizers of tokenizer.json: how a text falls into the pieces within
// which byte pairs are merged.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "inferd/base/status.h"
#include "text/json_view.h"

namespace inferd::text {

struct Piece {
  uint32_t begin;
  uint32_t end;
};

// A text and its pieces, which are in order, not empty and do not overlap.
struct PieceList {
  std::string text;
  std::vector<Piece> pieces;
  bool at_start = false;  // the first piece is where the whole input begins
};

// One step. Immutable: any thread.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // INVALID_ARGUMENT when a regular expression exceeds its limits.
  virtual Status Apply(PieceList* list) const = 0;
};

// The steps in order; a Sequence is flattened. ByteLevel, Split, Digits,
// Metaspace, Whitespace, WhitespaceSplit and Punctuation; any other type is
// FAILED_PRECONDITION that names it.
class PreTokenizerChain {
 public:
  static StatusOr<PreTokenizerChain> FromJson(const JsonView& view);

  Status Apply(PieceList* list) const;

 private:
  std::vector<std::unique_ptr<const PreTokenizer>> steps_;
};

}  // namespace inferd::text
