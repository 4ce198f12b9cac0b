// The parser against one that we did not write: whatever ours takes for a complete
// request, Boost.Beast takes for the same one. (Not the other way round: ours refuses
// more, such as folded lines.) Requests are made from pieces and then damaged.
#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "net/http1_parser.h"

namespace inferd::net {
namespace {

namespace http = boost::beast::http;

// A complete request at the beginning of the bytes, and how long it is.
struct Read {
  std::string method;
  std::string path;
  std::string query;
  HttpHeaders headers;
  std::string body;
  size_t size = 0;
};

std::optional<Read> ReadWithOurs(std::string_view bytes) {
  Http1Parser parser({});
  size_t used = 0;
  while (used < bytes.size()) {
    used += parser.Feed(bytes.substr(used));
    if (parser.state() == Http1Parser::State::kFailed) return std::nullopt;
    if (parser.state() != Http1Parser::State::kDone) continue;
    const HttpRequest request = parser.TakeRequest();
    return Read{request.method, request.path, request.query, request.headers, request.body, used};
  }
  return std::nullopt;
}

bool Has(const HttpHeaders& headers, std::string_view name) {
  return std::any_of(headers.begin(), headers.end(),
                     [name](const auto& header) { return header.first == name; });
}

std::vector<std::string> ValuesOf(const HttpHeaders& headers, std::string_view name) {
  std::vector<std::string> values;
  for (const auto& [other, value] : headers) {
    if (other == name) values.push_back(value);
  }
  return values;
}

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  return text;
}

std::optional<Read> ReadWithBeast(std::string_view bytes) {
  http::request_parser<http::string_body> parser;
  parser.eager(true);
  parser.header_limit(32 << 10);
  parser.body_limit(8 << 20);
  size_t used = 0;
  while (!parser.is_done()) {
    boost::beast::error_code error;
    const size_t took =
        parser.put(boost::asio::const_buffer(bytes.data() + used, bytes.size() - used), error);
    used += took;
    if (error == http::error::need_more && took > 0) continue;
    if (error) return std::nullopt;
  }
  const auto& message = parser.get();
  Read read;
  read.method = std::string(message.method_string());
  std::string target(message.target());
  // Where ours drops scheme and authority.
  if (const size_t scheme = target.find("://"); target[0] != '/' && scheme != std::string::npos) {
    const size_t slash = target.find_first_of("/?", scheme + 3);
    target = slash == std::string::npos ? "/" : target.substr(slash);
  }
  const size_t question = std::min(target.find('?'), target.size());
  read.path = target.substr(0, question);
  read.query = question < target.size() ? target.substr(question + 1) : "";
  for (const auto& field : message) {
    read.headers.emplace_back(Lower(std::string(field.name_string())), std::string(field.value()));
  }
  read.body = message.body();
  read.size = used;
  return read;
}

class Requests {
 public:
  explicit Requests(uint64_t seed) : random_(seed) {}

  std::string Next() {
    std::string text = Pick({"GET", "POST", "PUT", "M-SEARCH"}) + " " +
                       Pick({"/", "/v1/models", "/a?b=c&d", "/a?b?c", "http://h/p?q", "/%2e%2e/"}) +
                       " " + Pick({"HTTP/1.1", "HTTP/1.1", "HTTP/1.0"}) + "\r\nHost: x\r\n";
    for (size_t i = Below(4); i > 0; --i) {
      text += Pick({"A", "Accept", "X-Request-Id", "connection", "EXPECT", "b-c"}) + ":" +
              Pick({"", " ", "\t"}) + Pick({"b", "close", "100-continue", "a, b", "", "\xC3\xA9"}) +
              Pick({"", " "}) + "\r\n";
    }
    const std::string body(Below(20), 'x');
    switch (Below(4)) {
      case 0:
        text += "\r\n";
        break;
      case 1:
        text += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
        break;
      case 2:
        text += "Transfer-Encoding: chunked\r\n\r\n" + Chunks(body);
        break;
      default:
        text += "Content-Length: " + std::to_string(body.size()) + "\r\n" +
                Pick({"Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", ""}) + "\r\n" +
                body;
    }
    for (size_t i = Below(3); i > 0 && !text.empty(); --i) Damage(&text);
    return text + Pick({"", "GET / HTTP/1.1\r\nHost: y\r\n\r\n"});
  }

 private:
  size_t Below(size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random_);
  }
  std::string Pick(const std::vector<std::string>& from) { return from[Below(from.size())]; }

  std::string Chunks(std::string_view body) {
    std::string text;
    while (!body.empty()) {
      const size_t size = 1 + Below(body.size());
      text += std::string(1, "0123456789abcdefABCDEF"[size]) + Pick({"", ";a", ";a=\"b\""}) +
              "\r\n" + std::string(body.substr(0, size)) + "\r\n";
      body.remove_prefix(size);
    }
    return text + "0\r\n" + Pick({"", "T: u\r\n"}) + "\r\n";
  }

  void Damage(std::string* text) {
    const size_t at = Below(text->size());
    const std::string bytes(" \t\r\n:;0a\0\x7F\xFF/", 12);
    switch (Below(4)) {
      case 0:
        text->erase(at, 1);
        break;
      case 1:
        text->insert(at, 1, bytes[Below(bytes.size())]);
        break;
      case 2:
        (*text)[at] = bytes[Below(bytes.size())];
        break;
      default:
        text->insert(at, text->substr(at, Below(8)));
    }
  }

  std::mt19937_64 random_;
};

TEST(Http1DifferentialTest, WhatIsTakenBeastTakesForTheSame) {
  Requests requests(20261123);
  int taken = 0;
  int refused = 0;
  int theirs_alone_refused = 0;
  for (int i = 0; i < 200'000; ++i) {
    const std::string bytes = requests.Next();
    const std::optional<Read> ours = ReadWithOurs(bytes);
    if (!ours) {
      ++refused;
      continue;
    }
    ++taken;
    const std::optional<Read> theirs = ReadWithBeast(bytes);
    // Beast holds these to their grammar: Connection, which ours only looks through for
    // two words, and extensions of chunks, which ours ignores to the end of their line.
    if (!theirs && (Has(ours->headers, "connection") || bytes.find(';') != std::string::npos)) {
      ++theirs_alone_refused;
      continue;
    }
    ASSERT_TRUE(theirs) << bytes;
    ASSERT_EQ(ours->method, theirs->method) << bytes;
    ASSERT_EQ(ours->path, theirs->path) << bytes;
    ASSERT_EQ(ours->query, theirs->query) << bytes;
    ASSERT_EQ(ours->body, theirs->body) << bytes;
    ASSERT_EQ(ours->size, theirs->size) << bytes;
    for (const auto& header : ours->headers) {
      const std::string& name = header.first;
      // Beast keeps equal names together, and trailers among the headers, after them.
      const std::vector<std::string> mine = ValuesOf(ours->headers, name);
      std::vector<std::string> other = ValuesOf(theirs->headers, name);
      other.resize(std::min(other.size(), mine.size()));
      ASSERT_EQ(mine, other) << bytes;
    }
  }
  // Both kinds occur, or nothing was compared.
  EXPECT_GT(taken, 20'000);
  EXPECT_GT(refused, 20'000);
  EXPECT_LT(theirs_alone_refused, taken / 10);
}

}  // namespace
}  // namespace inferd::net
