#include "openai/check_json.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"

namespace inferd::openai {
namespace {

using Json = nlohmann::json;

Status Malformed(std::string_view why) {
  ErrorDetail detail;
  detail.reason = "INVALID_JSON";
  return {StatusCode::kInvalidArgument, "the body " + std::string(why), std::move(detail)};
}

// Hears of each value while the text is read; the first complaint ends the reading.
class Checker final : public nlohmann::json_sax<Json> {
 public:
  explicit Checker(const JsonLimits& limits) : limits_(limits) {}

  const Status& status() const { return status_; }

  bool null() override { return Count(); }
  bool boolean(bool) override { return Count(); }
  bool number_integer(number_integer_t) override { return Count(); }
  bool number_unsigned(number_unsigned_t) override { return Count(); }
  bool number_float(number_float_t, const string_t&) override { return Count(); }
  bool string(string_t&) override { return Count(); }
  bool binary(binary_t&) override { return Count(); }

  bool start_object(size_t) override {
    frames_.push_back(names_.size());
    return Open();
  }
  bool key(string_t& name) override {
    names_.push_back(std::move(name));
    return Count();
  }
  bool end_object() override {
    const auto begin = names_.begin() + static_cast<std::ptrdiff_t>(frames_.back());
    std::sort(begin, names_.end());
    const bool twice = std::adjacent_find(begin, names_.end()) != names_.end();
    names_.erase(begin, names_.end());
    frames_.pop_back();
    --depth_;
    return twice ? Fail("has an object with the same name twice") : true;
  }
  bool start_array(size_t) override { return Open(); }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    return Fail("is not valid JSON, at byte " + std::to_string(position));
  }

 private:
  bool Open() {
    if (++depth_ > limits_.max_depth) {
      return Fail("nests more than " + std::to_string(limits_.max_depth) + " deep");
    }
    return Count();
  }
  bool Count() {
    if (++nodes_ <= limits_.max_nodes) return true;
    return Fail("has more than " + std::to_string(limits_.max_nodes) + " values");
  }
  bool Fail(const std::string& why) {
    status_ = Malformed(why);
    return false;
  }

  const JsonLimits& limits_;
  Status status_;
  int depth_ = 0;
  int64_t nodes_ = 0;
  std::vector<std::string> names_;  // of all open objects, outermost first
  std::vector<size_t> frames_;      // where each open object's names begin
};

}  // namespace

Status CheckJson(std::string_view body, const JsonLimits& limits) {
  const size_t start = body.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos) return Malformed("is empty");
  // The library would let a byte order mark pass.
  if (body[start] != '{') return Malformed("must be a JSON object");
  // And would take a zero byte, which JSON has nowhere, for the end.
  if (body.find('\0') != std::string_view::npos) return Malformed("is not valid JSON");
  Checker checker(limits);
  const bool good = Json::sax_parse(body.begin(), body.end(), &checker,
                                    nlohmann::detail::input_format_t::json, /*strict=*/true);
  if (!checker.status().ok()) return checker.status();
  return good ? OkStatus() : Malformed("is not valid JSON");
}

}  // namespace inferd::openai
