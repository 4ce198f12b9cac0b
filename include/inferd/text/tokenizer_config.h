#pragma once

#include <filesystem>
#include <string>

#include "inferd/base/status.h"

namespace inferd {

// What tokenizer_config.json of a checkpoint says, as far as it matters here.
// Empty strings stand for what is absent or null.
struct TokenizerConfig {
  std::string bos_token;
  std::string eos_token;
  std::string unk_token;
  std::string pad_token;
  // Jinja source: of the template named "default" where there is a list; the
  // file chat_template.jinja beside it comes first.
  std::string chat_template;
};

// Reads tokenizer_config.json and chat_template.jinja of `directory`. Both may be
// absent. FAILED_PRECONDITION for files that are malformed or over 16 MiB.
StatusOr<TokenizerConfig> LoadTokenizerConfig(const std::filesystem::path& directory);

}  // namespace inferd
