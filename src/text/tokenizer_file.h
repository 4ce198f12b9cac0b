// tokenizer.json, read and checked: the parts a tokenizer is made of.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/text/tokenizer.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"

namespace inferd::text {

struct TokenizerParts {
  BpeModel model;
  std::vector<AddedToken> added_tokens;  // ids and contents are unique
  NormalizerChain normalizer;
  PreTokenizerChain pre_tokenizer;
  PostProcessor post_processor;
  Decoder decoder;
  int64_t vocab_size = 0;  // the largest id plus 1
};

// `json` is the content of the file, `name` what errors call it. The members
// truncation and padding are about batches of a training set and have no effect.
StatusOr<TokenizerParts> ParseTokenizerFile(std::string_view json, std::string_view name,
                                            const TokenizerLimits& limits);

}  // namespace inferd::text
