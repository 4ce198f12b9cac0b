#include "quantize/calibration.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>

#include "inferd/text/tokenizer.h"

namespace inferd::quantize {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMostText = size_t{1} << 20;  // bytes read
constexpr size_t kFewestTokens = 16;           // less says nothing about the inputs

StatusOr<std::string> ReadText(const fs::path& file) {
  std::error_code error;
  const std::string name = file.string();
  if (!fs::is_regular_file(file, error)) return NotFoundError(name + ": no such file");
  std::ifstream stream(file, std::ios::binary);
  std::string text(kMostText, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad() || (stream.fail() && !stream.eof())) {
    return FailedPreconditionError(name + ": cannot be read");
  }
  text.resize(static_cast<size_t>(stream.gcount()));
  // No character is cut in two: the last byte kept ends a line, or the text.
  if (text.size() == kMostText) {
    const size_t line = text.rfind('\n');
    if (line != std::string::npos) text.resize(line + 1);
  }
  return text;
}

}  // namespace

StatusOr<std::vector<std::vector<TokenId>>> CalibrationTokens(const fs::path& model,
                                                              const fs::path& file,
                                                              int64_t max_length,
                                                              int32_t vocab_size) {
  TextSegment segment;
  segment.trusted = true;  // the operator's own text
  if (file.empty()) {
    segment.text = std::string(DefaultCalibrationText());
  } else {
    INFERD_ASSIGN_OR_RETURN(segment.text, ReadText(file));
  }
  INFERD_ASSIGN_OR_RETURN(const std::unique_ptr<const Tokenizer> tokenizer,
                          Tokenizer::Load(model, TokenizerLimits{}));
  StatusOr<std::vector<TokenId>> encoded = tokenizer->Encode({&segment, 1}, false);
  if (!encoded.ok()) return encoded.status().WithPrefix("calibration text");
  const std::vector<TokenId> all = std::move(encoded).value();
  if (all.size() < kFewestTokens) {
    return InvalidArgumentError("calibration text: fewer than " + std::to_string(kFewestTokens) +
                                " tokens");
  }
  for (const TokenId token : all) {
    if (token < 0 || token >= vocab_size) {
      return FailedPreconditionError("the tokenizer has tokens outside the model's vocabulary");
    }
  }
  std::vector<TokenId> opening;
  if (tokenizer->bos_id() >= 0 && tokenizer->bos_id() < vocab_size) {
    opening.push_back(tokenizer->bos_id());
  }
  const int64_t length = std::min(kCalibrationLength, max_length);
  const auto fresh =
      static_cast<size_t>(std::max<int64_t>(1, length - static_cast<int64_t>(opening.size())));
  std::vector<std::vector<TokenId>> sequences;
  for (size_t at = 0; at < all.size() && sequences.size() < kCalibrationSequences; at += fresh) {
    std::vector<TokenId>& tokens = sequences.emplace_back(opening);
    const size_t end = std::min(all.size(), at + fresh);
    tokens.insert(tokens.end(), all.begin() + static_cast<int64_t>(at),
                  all.begin() + static_cast<int64_t>(end));
    if (static_cast<int64_t>(tokens.size()) > length) tokens.resize(static_cast<size_t>(length));
  }
  return sequences;
}

}  // namespace inferd::quantize
