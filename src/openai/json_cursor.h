#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace inferd::openai {

enum class JsonKind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject, kEnd };

// Walks a JSON text that CheckJson let pass, value by value, building nothing. A
// text that it would not have let pass gives wrong values, but nothing worse. Each
// Take* is for a value of that kind, as Peek told. One thread.
class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text) : text_(text) {}

  // The kind of the value that comes next.
  JsonKind Peek();

  // After EnterObject, until NextName returns false: each name's value is to be taken.
  void EnterObject() { Take('{'); }
  bool NextName(std::string* name);
  // Likewise; NextItem before each value.
  void EnterArray() { Take('['); }
  bool NextItem();

  bool TakeBool();
  std::string TakeString();
  // As it is written.
  std::string_view TakeNumber();
  // Any value, as it is written.
  std::string_view TakeRaw();

 private:
  char At() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void SkipSpace();
  void Take(char expected);
  void SkipString();
  // Four hexadecimal digits at `at_`.
  char32_t TakeHex();

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace inferd::openai
