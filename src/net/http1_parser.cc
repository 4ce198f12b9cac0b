#include "net/http1_parser.h"

#include <algorithm>
#include <array>
#include <utility>

namespace inferd::net {
namespace {

constexpr int64_t kMaxMethodBytes = 32;
// Besides the target: method, two spaces, version, CRLF.
constexpr int64_t kRequestLineExtra = kMaxMethodBytes + 12;
constexpr int64_t kMaxChunkLineBytes = 1 << 10;  // with extensions, which are ignored
constexpr size_t kFirstReserve = 64 << 10;

bool IsAlnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool IsTokenChar(char c) {
  return IsAlnum(c) ||
         (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsTokenChar);
}

bool IsFieldChar(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return c == '\t' || (byte >= 0x20 && byte != 0x7F);
}

std::string Lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Whether a comma-separated list has that element (lower case).
bool ListHas(std::string_view list, std::string_view element) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (Lower(Trim(list.substr(0, comma))) == element) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

void Http1Parser::Fail(int status) {
  state_ = State::kFailed;
  error_status_ = status;
}

HttpRequest Http1Parser::TakeRequest() {
  HttpRequest request = std::move(request_);
  request_ = {};
  state_ = State::kHead;
  step_ = Step::kRequestLine;
  started_ = false;
  skipped_empty_line_ = false;
  line_.clear();
  header_bytes_ = 0;
  header_fields_ = 0;
  left_ = 0;
  expects_continue_ = false;
  return request;
}

size_t Http1Parser::Feed(std::string_view bytes) {
  size_t done = 0;
  const State before = state_;
  while (state_ == before && (state_ == State::kHead || state_ == State::kBody) &&
         done < bytes.size()) {
    started_ = true;
    const bool raw = step_ == Step::kSizedBody || step_ == Step::kChunkData;
    done += raw ? FeedBytes(bytes.substr(done)) : FeedLine(bytes.substr(done));
  }
  return done;
}

int64_t Http1Parser::LineLimit() const {
  switch (step_) {
    case Step::kRequestLine:
      return limits_.max_target_bytes + kRequestLineExtra;
    case Step::kHeaderLine:
    case Step::kTrailerLine:
      // The empty line at the end is not counted.
      return limits_.max_header_bytes - header_bytes_ + 2;
    case Step::kChunkSize:
      return kMaxChunkLineBytes;
    default:
      return 2;
  }
}

int Http1Parser::LineLimitStatus() const {
  switch (step_) {
    case Step::kRequestLine:
      return 414;
    case Step::kHeaderLine:
    case Step::kTrailerLine:
      return 431;
    default:
      return 400;
  }
}

size_t Http1Parser::FeedLine(std::string_view bytes) {
  const size_t end = bytes.find('\n');
  const size_t take = end == std::string_view::npos ? bytes.size() : end + 1;
  const auto room = static_cast<size_t>(LineLimit()) - line_.size();
  if (take > room) {
    Fail(LineLimitStatus());
    return room;
  }
  line_.append(bytes.substr(0, take));
  if (end == std::string_view::npos) return take;
  if (line_.size() < 2 || line_[line_.size() - 2] != '\r') {
    Fail(400);
    return take;
  }
  line_.resize(line_.size() - 2);
  OnLine();
  line_.clear();
  return take;
}

void Http1Parser::OnLine() {
  switch (step_) {
    case Step::kRequestLine:
      // One empty line before a request is forgiven, as RFC 9112 asks.
      if (!line_.empty()) return OnRequestLine();
      if (skipped_empty_line_) return Fail(400);
      skipped_empty_line_ = true;
      return;
    case Step::kHeaderLine:
      return line_.empty() ? OnHeadEnd() : OnHeaderLine();
    case Step::kChunkSize:
      return OnChunkSize();
    case Step::kChunkEnd:
      if (!line_.empty()) return Fail(400);
      step_ = Step::kChunkSize;
      return;
    case Step::kTrailerLine:
      if (line_.empty()) return FinishBody();
      return OnHeaderLine();
    default:
      return;
  }
}

void Http1Parser::OnRequestLine() {
  const std::string_view line = line_;
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return Fail(400);
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!IsToken(method) || method.size() > static_cast<size_t>(kMaxMethodBytes)) return Fail(400);
  if (version.size() != 8 || !version.starts_with("HTTP/") || version[6] != '.' ||
      version[5] < '0' || version[5] > '9' || version[7] < '0' || version[7] > '9') {
    return Fail(400);
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return Fail(505);
  if (static_cast<int64_t>(target.size()) > limits_.max_target_bytes) return Fail(414);
  if (!OnTarget(target)) return Fail(400);
  request_.method = method;
  http10_ = version == "HTTP/1.0";
  keep_alive_ = !http10_;
  step_ = Step::kHeaderLine;
}

bool Http1Parser::OnTarget(std::string_view target) {
  const auto visible = [](char c) { return c > 0x20 && c < 0x7F && c != '#'; };
  if (!std::all_of(target.begin(), target.end(), visible)) return false;
  // What proxies are sent: the scheme and the authority go, Host says the same.
  const size_t authority = target.find("://");
  if (!target.starts_with('/') && authority != std::string_view::npos) {
    const std::string scheme = Lower(target.substr(0, authority));
    if (scheme != "http" && scheme != "https") return false;
    target.remove_prefix(authority + 3);
    const size_t slash = target.find_first_of("/?");
    if (slash == 0) return false;
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  const size_t question = std::min(target.find('?'), target.size());
  request_.path = target.substr(0, question);
  request_.query = target.substr(std::min(question + 1, target.size()));
  return request_.path.starts_with('/');
}

void Http1Parser::OnHeaderLine() {
  header_bytes_ += static_cast<int64_t>(line_.size()) + 2;
  if (header_bytes_ > limits_.max_header_bytes) return Fail(431);
  if (++header_fields_ > limits_.max_header_fields) return Fail(431);
  const std::string_view line = line_;
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return Fail(400);
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = Trim(line.substr(colon + 1));
  if (!IsToken(name) || !std::all_of(value.begin(), value.end(), IsFieldChar)) return Fail(400);
  if (step_ == Step::kHeaderLine) request_.headers.emplace_back(Lower(name), std::string(value));
}

void Http1Parser::OnHeadEnd() {
  int hosts = 0;
  int lengths = 0;
  int codings = 0;
  std::string_view length;
  std::string coding;
  std::string expect;
  bool close = false;
  for (const auto& [name, value] : request_.headers) {
    if (name == "host") {
      ++hosts;
    } else if (name == "content-length") {
      ++lengths;
      length = value;
    } else if (name == "transfer-encoding") {
      ++codings;
      coding = Lower(value);
    } else if (name == "connection") {
      if (ListHas(value, "close")) close = true;
      if (http10_ && ListHas(value, "keep-alive")) keep_alive_ = true;
    } else if (name == "expect") {
      expect = Lower(value);
    }
  }
  if (close) keep_alive_ = false;
  if (hosts > 1 || (hosts == 0 && !http10_)) return Fail(400);
  if (lengths > 1 || codings > 1 || (lengths != 0 && codings != 0)) return Fail(400);
  if (codings != 0 && http10_) return Fail(400);
  if (codings != 0 && coding != "chunked") return Fail(501);
  uint64_t declared = 0;
  if (lengths == 1) {
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    if (length.empty() || !std::all_of(length.begin(), length.end(), digit)) return Fail(400);
    length.remove_prefix(std::min(length.find_first_not_of('0'), length.size() - 1));
    if (length.size() > 18) return Fail(413);
    for (const char c : length) declared = declared * 10 + static_cast<uint64_t>(c - '0');
    if (declared > static_cast<uint64_t>(limits_.max_body_bytes)) return Fail(413);
  }
  if (!expect.empty() && expect != "100-continue") return Fail(417);
  expects_continue_ = !expect.empty() && !http10_ && (declared > 0 || codings != 0);
  if (codings != 0) {
    step_ = Step::kChunkSize;
    state_ = State::kBody;
  } else if (declared > 0) {
    step_ = Step::kSizedBody;
    left_ = declared;
    request_.body.reserve(std::min<size_t>(declared, kFirstReserve));
    state_ = State::kBody;
  } else {
    state_ = State::kDone;
  }
}

void Http1Parser::OnChunkSize() {
  const std::string_view line = line_;
  // Without the space that some readers allow around them.
  const std::string_view digits = line.substr(0, std::min(line.find(';'), line.size()));
  if (digits.empty() || !std::all_of(line.begin(), line.end(), IsFieldChar)) {
    return Fail(400);
  }
  uint64_t size = 0;
  for (const char c : digits) {
    const int digit = HexDigit(c);
    if (digit < 0) return Fail(400);
    if (size >> 58 != 0) return Fail(413);
    size = size * 16 + static_cast<uint64_t>(digit);
  }
  const auto room = static_cast<uint64_t>(limits_.max_body_bytes) - request_.body.size();
  if (size > room) return Fail(413);
  left_ = size;
  step_ = size == 0 ? Step::kTrailerLine : Step::kChunkData;
}

size_t Http1Parser::FeedBytes(std::string_view bytes) {
  const auto take = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
  request_.body.append(bytes.substr(0, take));
  left_ -= take;
  if (left_ == 0) {
    if (step_ == Step::kSizedBody) {
      FinishBody();
    } else {
      step_ = Step::kChunkEnd;
    }
  }
  return take;
}

void Http1Parser::FinishBody() { state_ = State::kDone; }

}  // namespace inferd::net
