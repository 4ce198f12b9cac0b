#include "text/bpe.h"

#include <algorithm>

#include "inferd/text/utf8.h"

namespace inferd::text {
namespace {

// Below this, scanning for the best pair beats a heap.
constexpr size_t kShortRun = 24;

}  // namespace

TokenId BpeModel::CharacterId(std::string_view character) const {
  const CodePoint c = DecodeUtf8(character, 0);
  if (c.value < characters_.size()) return characters_[c.value];
  return vocab_.Find(character);
}

bool BpeModel::Initialize(std::string_view piece, std::vector<Symbol>* symbols) const {
  symbols->clear();
  bool all_known = true;
  uint32_t unknown_length = 0;  // of the unknown token that is due; 0: none
  const auto add = [&](TokenId id, uint32_t length) {
    symbols->push_back({id, length, static_cast<int32_t>(symbols->size()) - 1,
                        static_cast<int32_t>(symbols->size()) + 1});
  };
  for (size_t i = 0; i < piece.size();) {
    const uint32_t length = DecodeUtf8(piece, i).length;
    const std::string_view character = piece.substr(i, length);
    i += length;
    const TokenId id = CharacterId(character);
    if (id >= 0) {
      if (unknown_length > 0) add(unknown_, unknown_length);
      unknown_length = 0;
      add(id, length);
      continue;
    }
    all_known = false;
    if (byte_fallback_ && std::all_of(character.begin(), character.end(), [&](char b) {
          return bytes_[static_cast<unsigned char>(b)] >= 0;
        })) {
      // An unknown token that is due stays due, as in the library.
      for (const char b : character) add(bytes_[static_cast<unsigned char>(b)], 1);
      continue;
    }
    if (unknown_ < 0) continue;  // the library drops such text
    if (unknown_length > 0 && !fuse_unknown_) {
      add(unknown_, unknown_length);
      unknown_length = 0;
    }
    unknown_length += length;
  }
  if (unknown_length > 0) add(unknown_, unknown_length);
  return all_known;
}

void BpeModel::Encode(std::string_view piece, Scratch* scratch, std::vector<TokenId>* out) const {
  if (piece.empty()) return;
  const TokenId token = vocab_.Find(piece);
  if (token >= 0 && (ignore_merges_ || IsWhole(token))) {
    out->push_back(token);
    return;
  }
  std::vector<Symbol>& symbols = scratch->symbols_;
  const bool all_known = Initialize(piece, &symbols);
  if (symbols.size() <= kShortRun) {
    const size_t before = out->size();
    MergeRun(0, symbols.size(), scratch, out);
    NoteWhole(token, *out, before);
    return;
  }
  // No merge reaches across a pair that no merge puts side by side: the piece
  // falls apart there, and most parts are tokens as they stand.
  size_t begin = 0;
  size_t begin_byte = 0;
  size_t end_byte = 0;
  for (size_t i = 0; i < symbols.size(); ++i) {
    end_byte += symbols[i].length;
    const bool cut =
        i + 1 == symbols.size() || i + 1 - begin == kMaxRunSymbols ||
        (neighbours_known_ && neighbours_.Find(symbols[i].id, symbols[i + 1].id) == nullptr);
    if (!cut) continue;
    const TokenId whole =
        all_known ? vocab_.Find(piece.substr(begin_byte, end_byte - begin_byte)) : -1;
    if (whole >= 0 && IsWhole(whole)) {
      out->push_back(whole);
    } else {
      const size_t before = out->size();
      MergeRun(begin, i + 1, scratch, out);
      NoteWhole(whole, *out, before);
    }
    begin = i + 1;
    begin_byte = end_byte;
  }
}

void BpeModel::MergeRun(size_t begin, size_t end, Scratch* scratch,
                        std::vector<TokenId>* out) const {
  const size_t count = end - begin;
  if (count == 0) return;
  Symbol* symbols = scratch->symbols_.data() + begin;
  if (count == 1) {
    out->push_back(symbols[0].id);
  } else if (count <= kShortRun) {
    MergeShort(symbols, count, scratch, out);
  } else {
    MergeLong(symbols, count, scratch, out);
  }
}

void BpeModel::MergeShort(Symbol* symbols, size_t count, Scratch* scratch,
                          std::vector<TokenId>* out) const {
  constexpr PairTable::Value kNone = {INT32_MAX, -1};
  const auto look_up = [&](size_t i) {
    const PairTable::Value* value = merges_.Find(symbols[i].id, symbols[i + 1].id);
    return value == nullptr ? kNone : *value;
  };
  std::vector<PairTable::Value>& pairs = scratch->pairs_;  // of symbols i and i + 1
  pairs.clear();
  for (size_t i = 0; i + 1 < count; ++i) pairs.push_back(look_up(i));
  while (!pairs.empty()) {
    size_t best = 0;
    for (size_t i = 1; i < pairs.size(); ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].merged < 0) break;
    symbols[best].id = pairs[best].merged;
    std::copy(symbols + best + 2, symbols + count, symbols + best + 1);
    --count;
    pairs.erase(pairs.begin() + static_cast<std::ptrdiff_t>(best));
    if (best < pairs.size()) pairs[best] = look_up(best);
    if (best > 0) pairs[best - 1] = look_up(best - 1);
  }
  for (size_t i = 0; i < count; ++i) out->push_back(symbols[i].id);
}

void BpeModel::MergeLong(Symbol* symbols, size_t count, Scratch* scratch,
                         std::vector<TokenId>* out) const {
  auto& heap = scratch->heap_;
  heap.clear();
  const auto later = [](const Scratch::Candidate& a, const Scratch::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto consider = [&](int32_t left) {
    const int32_t right = symbols[left].next;
    if (right < 0) return false;
    const PairTable::Value* value = merges_.Find(symbols[left].id, symbols[right].id);
    if (value == nullptr) return false;
    heap.push_back({value->rank, left, value->merged});
    return true;
  };
  for (size_t i = 0; i < count; ++i) {
    symbols[i].previous = static_cast<int32_t>(i) - 1;
    symbols[i].next = i + 1 < count ? static_cast<int32_t>(i) + 1 : -1;
  }
  for (size_t i = 0; i < count; ++i) consider(static_cast<int32_t>(i));
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Scratch::Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = symbols[best.position];
    if (left.next < 0) continue;  // merged into another, or now the last
    Symbol& right = symbols[left.next];
    // The pair may have changed since it was considered.
    const PairTable::Value* value = merges_.Find(left.id, right.id);
    if (value == nullptr || value->merged != best.merged) continue;
    left.id = best.merged;
    left.next = right.next;
    right.next = kMerged;
    if (left.next >= 0) symbols[left.next].previous = best.position;
    if (left.previous >= 0 && consider(left.previous)) {
      std::push_heap(heap.begin(), heap.end(), later);
    }
    if (consider(best.position)) std::push_heap(heap.begin(), heap.end(), later);
  }
  for (int32_t i = 0; i >= 0; i = symbols[i].next) out->push_back(symbols[i].id);
}

}  // namespace inferd::text
