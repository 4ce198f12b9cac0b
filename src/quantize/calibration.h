#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/base/status.h"

namespace inferd::quantize {

inline constexpr int64_t kCalibrationLength = 512;   // tokens of a sequence
inline constexpr size_t kCalibrationSequences = 64;  // at most

// A text of our own, for when none is given.
std::string_view DefaultCalibrationText();

// The text (`file`, or ours when it is empty) in the tokens of the checkpoint
// `model`, cut into sequences of kCalibrationLength or `max_length` tokens, each
// with the token that begins a text if the tokenizer has one.
StatusOr<std::vector<std::vector<TokenId>>> CalibrationTokens(const std::filesystem::path& model,
                                                              const std::filesystem::path& file,
                                                              int64_t max_length,
                                                              int32_t vocab_size);

}  // namespace inferd::quantize
