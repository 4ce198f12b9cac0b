#include "model/json.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <unordered_set>
#include <vector>

namespace inferd::model {
namespace {

using Json = nlohmann::json;

// Walks the text without building anything and stops at the first violation.
// The parser below it keeps its own stack of bits, so depth costs no recursion.
class LimitChecker final : public nlohmann::json_sax<Json> {
 public:
  const std::string& problem() const { return problem_; }

  bool null() override { return Value(); }
  bool boolean(bool) override { return Value(); }
  bool number_integer(number_integer_t) override { return Value(); }
  bool number_unsigned(number_unsigned_t) override { return Value(); }
  bool number_float(number_float_t, const string_t&) override { return Value(); }
  bool string(string_t&) override { return Value(); }
  bool binary(binary_t&) override { return Value(); }
  bool start_object(size_t) override { return Open(); }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) {
      return Fail("key \"" + Printable(name) + "\" appears twice");
    }
    return true;
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail("not valid JSON at byte " + std::to_string(position));
  }

 private:
  bool Fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
    return false;
  }
  bool Value() {
    return ++values_ <= kMaxJsonValues ||
           Fail("more than " + std::to_string(kMaxJsonValues) + " JSON values");
  }
  bool Open() {
    if (keys_.size() == kMaxJsonDepth) {
      return Fail("JSON nested deeper than " + std::to_string(kMaxJsonDepth));
    }
    keys_.emplace_back();
    return Value();
  }
  bool Close() {
    keys_.pop_back();
    return true;
  }

  std::vector<std::unordered_set<std::string>> keys_;  // one set per open level
  size_t values_ = 0;
  std::string problem_;
};

}  // namespace

std::string Printable(std::string_view text) {
  constexpr size_t kLongest = 64;
  std::string out;
  for (const char c : text.substr(0, kLongest)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  // A cut UTF-8 character goes as a whole.
  if (text.size() > kLongest) {
    while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0x80) != 0) out.pop_back();
    out += "...";
  }
  return out;
}

StatusOr<Json> ParseJson(std::string_view text, std::string_view what) {
  try {
    LimitChecker checker;
    if (!Json::sax_parse(text.begin(), text.end(), &checker)) {
      return FailedPreconditionError(std::string(what) + ": " + checker.problem());
    }
    return Json::parse(text.begin(), text.end());
  } catch (const std::exception&) {
    return FailedPreconditionError(std::string(what) + ": cannot be parsed");
  }
}

StatusOr<OpenedFile> OpenRegularFile(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  // O_NONBLOCK: opening a pipe returns at once, to be refused below.
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) {
    const int error = errno;
    const std::string message = name + ": cannot be opened: " + std::strerror(error);
    if (error == ENOENT || error == ENOTDIR) return NotFoundError(message);
    if (error == EMFILE || error == ENFILE || error == ENOMEM) {
      return ResourceExhaustedError(message);
    }
    return FailedPreconditionError(message);
  }
  struct stat facts {};
  if (fstat(fd.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return FailedPreconditionError(name + ": not a regular file");
  }
  return OpenedFile{std::move(fd), static_cast<size_t>(facts.st_size),
                    int64_t{facts.st_mtim.tv_sec} * 1'000'000'000 + facts.st_mtim.tv_nsec};
}

StatusOr<std::string> ReadSmallFile(const std::filesystem::path& path, size_t max_bytes) {
  INFERD_ASSIGN_OR_RETURN(const OpenedFile file, OpenRegularFile(path));
  const std::string name = path.filename().string();
  if (file.bytes > max_bytes) {
    return FailedPreconditionError(name + ": larger than " + std::to_string(max_bytes) + " bytes");
  }
  std::string text(file.bytes, '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = read(file.fd.get(), text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      return FailedPreconditionError(name + ": cannot be read");
    }
    done += static_cast<size_t>(got);
  }
  return text;
}

}  // namespace inferd::model
