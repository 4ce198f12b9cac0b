// The post-processors of tokenizer.json, for one sequence: the ids that go
// around it.
#pragma once

#include <vector>

#include "inferd/base/ids.h"
#include "inferd/base/status.h"
#include "text/json_view.h"

namespace inferd::text {

// Immutable: any thread.
class PostProcessor {
 public:
  // ByteLevel (which leaves ids alone), TemplateProcessing and a Sequence of
  // them; any other type is FAILED_PRECONDITION that names it. Ids must be below
  // `vocab_size`.
  static StatusOr<PostProcessor> FromJson(const JsonView& view, int64_t vocab_size);

  const std::vector<TokenId>& before() const { return before_; }
  const std::vector<TokenId>& after() const { return after_; }

 private:
  std::vector<TokenId> before_;
  std::vector<TokenId> after_;
};

}  // namespace inferd::text
