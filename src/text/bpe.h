// Byte-pair encoding (Sennrich, Haddow, Birch, ACL 2016) as tokenizer.json says:
// of all adjacent pairs the one that was learnt first is merged, leftmost first,
// until no pair is known.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/ids.h"
#include "inferd/base/status.h"
#include "inferd/text/tokenizer.h"
#include "text/bpe_lists.h"
#include "text/flat_tables.h"
#include "text/json_view.h"

namespace inferd::text {

// Immutable: any thread, each with its own Scratch.
class BpeModel {
 public:
  // The member "model" of tokenizer.json, without what is in `lists`.
  static StatusOr<BpeModel> FromJson(const JsonView& view, const BpeLists& lists,
                                     const TokenizerLimits& limits);

  // Working memory of Encode, worth keeping between calls.
  class Scratch {
   private:
    friend class BpeModel;
    struct Symbol {
      TokenId id;
      uint32_t length;  // bytes
      int32_t previous;
      int32_t next;  // -1 at the ends, kMerged once it is part of another
    };
    struct Candidate {
      int32_t rank;
      int32_t position;  // of the left symbol
      TokenId merged;
    };
    std::vector<Symbol> symbols_;
    std::vector<Candidate> heap_;
    std::vector<PairTable::Value> pairs_;
  };

  // Appends the tokens of `piece` (valid UTF-8). O(n log n). A stretch of more
  // than kMaxRunSymbols characters all of which could merge is cut there.
  void Encode(std::string_view piece, Scratch* scratch, std::vector<TokenId>* out) const;

  static constexpr size_t kMaxRunSymbols = 64 << 10;

  TokenId Find(std::string_view token) const { return vocab_.Find(token); }
  // One more than the largest id.
  size_t num_tokens() const { return places_.size(); }
  // Empty where the vocabulary has a gap; `id` < num_tokens().
  std::string_view Token(size_t id) const {
    return places_[id] == 0 ? std::string_view() : vocab_.Key(places_[id] - 1);
  }

 private:
  using Symbol = Scratch::Symbol;
  static constexpr int32_t kMerged = -2;

  Status ReadVocab(const JsonView& vocab, const BpeLists& lists, const TokenizerLimits& limits);
  void IndexCharacters();
  Status ReadMerges(const JsonView& merges, const BpeLists& lists);
  struct Pair {
    TokenId left;
    TokenId right;
    TokenId merged;
  };
  // `guess`: what the merge may well give; -1: none.
  StatusOr<Pair> ReadMerge(BpeLists::Merge merge, TokenId guess);
  bool IsJoined(TokenId id, std::string_view left, std::string_view right) const;

  TokenId CharacterId(std::string_view character) const;
  // Fills the symbols of a piece; false when some of its text has no token of its
  // own (unknown or byte fallback).
  bool Initialize(std::string_view piece, std::vector<Symbol>* symbols) const;
  // Merges symbols [begin, end) and appends what results.
  void MergeRun(size_t begin, size_t end, Scratch* scratch, std::vector<TokenId>* out) const;
  void MergeShort(Symbol* symbols, size_t count, Scratch* scratch, std::vector<TokenId>* out) const;
  void MergeLong(Symbol* symbols, size_t count, Scratch* scratch, std::vector<TokenId>* out) const;

  bool byte_fallback_ = false;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
  TokenId unknown_ = -1;

  // Whether merging the token's own text is known to give the token.
  bool IsWhole(TokenId id) const {
    return whole_[static_cast<size_t>(id)].load(std::memory_order_relaxed) != 0;
  }
  // Notes that it does if `out` has got `id` and nothing else since it had `before`.
  void NoteWhole(TokenId id, const std::vector<TokenId>& out, size_t before) const {
    if (id < 0 || out.size() != before + 1 || out.back() != id) return;
    whole_[static_cast<size_t>(id)].store(1, std::memory_order_relaxed);
  }

  StringTable vocab_;
  std::vector<uint32_t> places_;  // by id: entry of vocab_ plus 1; 0: none
  PairTable merges_;
  std::array<TokenId, 0x400> characters_;  // tokens of one character below U+0400
  std::array<TokenId, 256> bytes_;         // tokens <0x00> to <0xFF>
  PairTable neighbours_;                   // pairs of characters that some merge puts side by side
  // Whether that holds for all symbols: no merge names the unknown or a byte token.
  bool neighbours_known_ = true;
  // By id. Learnt by merging, whoever comes first: it is true of a token or not.
  std::unique_ptr<std::atomic<uint8_t>[]> whole_;
};

}  // namespace inferd::text
