// The Tokenizer that a tokenizer.json describes.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/text/tokenizer.h"
#include "text/tokenizer_file.h"

namespace inferd::text {

// Immutable: any thread.
class BpeTokenizer final : public Tokenizer {
 public:
  // `bos` and `eos` are token contents; empty where there is none.
  static StatusOr<std::unique_ptr<const Tokenizer>> Create(TokenizerParts parts,
                                                           const TokenizerLimits& limits,
                                                           std::string_view bos,
                                                           std::string_view eos);

  StatusOr<std::vector<TokenId>> Encode(std::span<const TextSegment> segments,
                                        bool add_special_tokens) const override;
  std::string_view TokenBytes(TokenId id) const override;
  std::string LeadingTokenBytes(TokenId id) const override;
  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const override;
  bool StripsLeadingSpace() const override { return parts_.decoder.strips_leading_space(); }
  bool IsSpecial(TokenId id) const override;
  int32_t vocab_size() const override { return static_cast<int32_t>(parts_.vocab_size); }
  TokenId bos_id() const override { return bos_id_; }
  TokenId eos_id() const override { return eos_id_; }
  TokenId TokenToId(std::string_view content) const override;

 private:
  BpeTokenizer(TokenizerParts parts, const TokenizerLimits& limits)
      : parts_(std::move(parts)), limits_(limits) {}
  Status IndexAddedTokens();
  Status IndexBytes();

  // Normalises a stretch without raw added tokens and appends its tokens.
  // `at_start`: the stretch opens the input.
  Status EncodeStretch(MarkedText stretch, bool at_start, BpeModel::Scratch* scratch,
                       std::vector<TokenId>* ids) const;
  std::string_view Content(TokenId id) const;

  TokenizerParts parts_;
  TokenizerLimits limits_;
  StringTable added_ids_;                 // by content
  AddedTokenMatcher raw_matcher_;         // before normalisation
  AddedTokenMatcher normalized_matcher_;  // after it
  std::vector<std::string> added_contents_;
  std::vector<uint32_t> added_places_;  // by id: in added_contents_, plus 1; 0: the model's own
  std::vector<bool> is_special_;        // by id
  std::string bytes_;                   // of all tokens, one after another
  std::vector<size_t> byte_offsets_;    // by id, and one more
  TokenId bos_id_ = -1;
  TokenId eos_id_ = -1;
};

}  // namespace inferd::text
