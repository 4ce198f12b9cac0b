#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace inferd::openai {

// Appends JSON to a string, without spaces; puts the commas. Strings must be UTF-8:
// what is not becomes U+FFFD. One thread.
class JsonWriter {
 public:
  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close(']'); }
  JsonWriter& Name(std::string_view name);
  JsonWriter& String(std::string_view value);
  JsonWriter& Int(int64_t value);
  // Shortest digits that read back as the same number; what is not finite is null.
  JsonWriter& Float(float value);
  JsonWriter& Bool(bool value) { return Raw(value ? "true" : "false"); }
  JsonWriter& Null() { return Raw("null"); }
  // JSON as it is.
  JsonWriter& Raw(std::string_view json);

  std::string Take() { return std::move(out_); }

 private:
  JsonWriter& Open(char bracket);
  JsonWriter& Close(char bracket);
  void Comma() {
    if (comma_) out_ += ',';
    comma_ = true;
  }
  void Quoted(std::string_view text);

  std::string out_;
  bool comma_ = false;  // the next value or name needs one before it
};

}  // namespace inferd::openai
