// The decoders of tokenizer.json, worked out once for each token: what bytes a
// token stands for within a running text, and what the start of a text changes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"
#include "text/json_view.h"
#include "text/pattern.h"

namespace inferd::text {

// Immutable: any thread.
class Decoder {
 public:
  // ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace and Sequences of
  // them. FAILED_PRECONDITION for other types, and for an order in which a
  // token's text would depend on the tokens after it.
  static StatusOr<Decoder> FromJson(const JsonView& view);

  // Appends the bytes of `token`, valid UTF-8, within a running text.
  Status AppendBytes(std::string_view token, std::string* out) const;
  // The bytes of `token` where it opens a text.
  StatusOr<std::string> LeadingBytes(std::string_view token) const { return Run(token, true); }
  bool has_leading_rule() const { return has_leading_rule_; }
  // One leading space of the whole text goes.
  bool strips_leading_space() const { return strips_leading_space_; }

 private:
  struct Step {
    enum class Kind { kByteLevel, kByteFallback, kStrip, kReplace, kMetaspace };
    Kind kind;
    std::vector<Pattern> pattern;  // kReplace: one
    std::string content;           // kReplace: what comes instead; kStrip, kMetaspace: what goes
    int64_t start = 0;             // kStrip
    int64_t stop = 0;
    bool drops_leading = false;  // kMetaspace
  };
  StatusOr<std::string> Run(std::string_view token, bool leading) const;
  Status AddStep(const JsonView& view, bool* fused);

  std::vector<Step> steps_;
  bool has_leading_rule_ = false;
  bool strips_leading_space_ = false;
};

}  // namespace inferd::text
