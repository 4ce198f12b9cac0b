#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/base/status.h"

namespace inferd {

struct TokenizerLimits {
  int64_t max_file_bytes = 256LL << 20;
  int64_t max_vocab_entries = 2'000'000;
  int64_t max_token_bytes = 1024;
  int64_t max_text_bytes = 8LL << 20;  // per Encode call
};

// A piece of a prompt. Only trusted text (template output, configuration) may
// become special tokens; what a user typed never does.
struct TextSegment {
  std::string text;
  bool trusted = false;
};

// Text to token ids and back, as tokenizer.json (Hugging Face `tokenizers`
// format, model type BPE) says. Immutable after Load: any thread.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Reads and validates tokenizer.json (and tokenizer_config.json beside it when
  // present) of a checkpoint directory. Parts of the format that are not
  // understood are an error that names them, never ignored.
  static StatusOr<std::unique_ptr<const Tokenizer>> Load(const std::filesystem::path& directory,
                                                         const TokenizerLimits& limits);

  // The tokens of `segments` in order, as one text. With `add_special_tokens`
  // the post-processor adds what the model expects around it (for example BOS).
  // INVALID_ARGUMENT for text that is not UTF-8 or is over the limit.
  virtual StatusOr<std::vector<TokenId>> Encode(std::span<const TextSegment> segments,
                                                bool add_special_tokens) const = 0;

  // The bytes one token stands for within a running text (after byte-level or
  // byte-fallback mapping; may be part of a UTF-8 sequence); empty for ids
  // outside the vocabulary.
  virtual std::string_view TokenBytes(TokenId id) const = 0;
  // The bytes of the token that opens a sequence, for decoders that treat it apart
  // (Metaspace drops its word-boundary marks); before StripsLeadingSpace applies.
  virtual std::string LeadingTokenBytes(TokenId id) const { return std::string(TokenBytes(id)); }
  // Whole-sequence decoding as the library does it (with the decoder's
  // treatment of the sequence start). May end in an incomplete UTF-8 sequence.
  virtual std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const = 0;

  // The decoder strips one leading space at the start of a sequence
  // (SentencePiece style).
  virtual bool StripsLeadingSpace() const = 0;
  virtual bool IsSpecial(TokenId id) const = 0;
  // Number of ids, added tokens included; ids are below it.
  virtual int32_t vocab_size() const = 0;
  // Ids of bos/eos/unk by name in tokenizer_config.json; -1 when absent.
  virtual TokenId bos_id() const = 0;
  virtual TokenId eos_id() const = 0;
  // The id of the token whose content is exactly `content`; -1 when none.
  virtual TokenId TokenToId(std::string_view content) const = 0;
};

}  // namespace inferd
