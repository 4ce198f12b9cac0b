#include "text/bpe_lists.h"

#include <utility>

#include "text/json_view.h"

namespace inferd::text {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) { lists_.cursor = JsonCursor(text); }

  // False where the text is not valid JSON, or odd() enough to be asked about.
  bool Read() {
    if (text_.starts_with(kByteOrderMark)) cursor().SkipBytes(kByteOrderMark.size());
    cursor().SkipSpace();
    if (cursor().Peek() == '{' && !Members(/*in_model=*/false)) return false;
    lists_.rest.append(text_.substr(copied_));
    return true;
  }
  bool odd() const { return odd_; }
  BpeLists Take() { return std::move(lists_); }

 private:
  JsonCursor& cursor() { return lists_.cursor; }

  // The members of the document, or of its member "model".
  bool Members(bool in_model) {
    return List('{', '}', [&] {
      std::string_view key;
      if (!cursor().String(&key) || !cursor().Take(':')) return false;
      cursor().SkipSpace();
      const char first = cursor().Peek();
      if (!in_model && key == "model" && first == '{') return Members(/*in_model=*/true);
      // Of members of one name the last counts, here as in the rest.
      if (in_model && key == "vocab" && first == '{') return Replace("{}", &Reader::Vocab);
      if (in_model && key == "merges" && first == '[') return Replace("[]", &Reader::Merges);
      return cursor().Skip();
    });
  }

  // What stands between two brackets, with commas between.
  template <typename Item>
  bool List(char open, char close, Item item) {
    if (!cursor().Take(open)) return false;
    if (cursor().Take(close)) return true;
    do {
      if (!item()) return false;
    } while (cursor().Take(','));
    return cursor().Take(close);
  }

  // Reads a value and has `stand_in` in its place in the rest.
  bool Replace(std::string_view stand_in, bool (Reader::*read)()) {
    lists_.rest.append(text_.substr(copied_, cursor().position() - copied_));
    lists_.rest.append(stand_in);
    const bool valid = (this->*read)();
    copied_ = cursor().position();
    return valid;
  }

  bool Vocab() {
    lists_.vocab.clear();
    return List('{', '}', [&] {
      BpeLists::Token token{{}, -1};
      if (!cursor().String(&token.content) || !cursor().Take(':')) return false;
      cursor().SkipSpace();
      const bool valid = cursor().Unsigned(&token.id) || SkipOdd();
      lists_.vocab.push_back(token);
      return valid;
    });
  }

  bool Merges() {
    lists_.merges.clear();
    return List('[', ']', [&] {
      cursor().SkipSpace();
      BpeLists::Merge merge;
      const size_t begin = cursor().position();
      bool valid = true;
      if (cursor().Peek() == '"') {
        valid = cursor().String(&merge.left);
      } else if (!cursor().Take('[') || !cursor().String(&merge.left) || !cursor().Take(',') ||
                 !cursor().String(&merge.right) || !cursor().Take(']')) {
        merge = {};
        cursor().Rewind(begin);
        valid = SkipOdd();
      }
      lists_.merges.push_back(merge);
      return valid;
    });
  }

  // Past a value that has no business here; whether it is valid is not known.
  bool SkipOdd() {
    odd_ = true;
    return cursor().Skip();
  }

  std::string_view text_;
  BpeLists lists_;
  size_t copied_ = 0;  // of the text, into the rest or a list
  bool odd_ = false;
};

}  // namespace

StatusOr<BpeLists> ReadBpeLists(std::string_view text, std::string_view name, int max_depth) {
  Reader reader(text);
  const bool read = reader.Read();
  if (!read || reader.odd()) {
    // The file will be refused: why, a tree of it says as that of any other file.
    INFERD_RETURN_IF_ERROR(ParseJson(text, name, max_depth).status());
    if (!read) return FailedPreconditionError(std::string(name) + ": not valid JSON");
  }
  return reader.Take();
}

}  // namespace inferd::text
