#include "net/http1_parser.h"

#include <gtest/gtest.h>

#include <random>

namespace inferd::net {
namespace {

constexpr Http1Limits kSmall = {
    .max_target_bytes = 20, .max_header_bytes = 64, .max_header_fields = 4, .max_body_bytes = 10};

// What became of the first request; 0: complete, -1: more bytes are needed.
int Outcome(std::string_view bytes, const Http1Limits& limits = {}, HttpRequest* request = nullptr,
            size_t step = 1'000'000) {
  Http1Parser parser(limits);
  while (!bytes.empty()) {
    const size_t used = parser.Feed(bytes.substr(0, std::min(step, bytes.size())));
    bytes.remove_prefix(used);
    if (parser.state() == Http1Parser::State::kFailed) return parser.error_status();
    if (parser.state() == Http1Parser::State::kDone) {
      if (request != nullptr) *request = parser.TakeRequest();
      return 0;
    }
  }
  return -1;
}

std::string WithHeaders(const std::string& headers) {
  return "POST / HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n";
}

TEST(Http1ParserTest, ReadsARequest) {
  HttpRequest request;
  ASSERT_EQ(Outcome("\r\nPOST /a/b?c=%20d?e HTTP/1.1\r\nHOST: x\r\nA:  b\tc \r\nEmpty:\r\n"
                    "Content-Length: 003\r\n\r\nxyz",
                    {}, &request),
            0);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.path, "/a/b");
  EXPECT_EQ(request.query, "c=%20d?e");
  EXPECT_EQ(request.Header("a"), "b\tc");
  EXPECT_EQ(request.Header("empty"), "");
  EXPECT_EQ(request.Header("host"), "x");
  EXPECT_EQ(request.body, "xyz");
}

TEST(Http1ParserTest, AbsoluteTargetsLoseTheirAuthority) {
  HttpRequest request;
  ASSERT_EQ(Outcome("GET http://host:1/p?q HTTP/1.1\r\nHost: host:1\r\n\r\n", {}, &request), 0);
  EXPECT_EQ(request.path, "/p");
  EXPECT_EQ(request.query, "q");
  ASSERT_EQ(Outcome("GET HTTPS://host HTTP/1.1\r\nHost: host\r\n\r\n", {}, &request), 0);
  EXPECT_EQ(request.path, "/");
}

struct Case {
  const char* what;
  std::string bytes;
  int outcome;
};

TEST(Http1ParserTest, RefusesWhatTwoReadersCouldTakeDifferently) {
  const std::string ok = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  const Case cases[] = {
      {"control: fine", ok, 0},
      {"both lengths", WithHeaders("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"both lengths, reversed", WithHeaders("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
       400},
      {"two equal lengths", WithHeaders("Content-Length: 3\r\nContent-Length: 3\r\n"), 400},
      {"a list of lengths", WithHeaders("Content-Length: 3, 3\r\n"), 400},
      {"signed length", WithHeaders("Content-Length: +3\r\n"), 400},
      {"negative length", WithHeaders("Content-Length: -3\r\n"), 400},
      {"hexadecimal length", WithHeaders("Content-Length: 0x3\r\n"), 400},
      {"exponent length", WithHeaders("Content-Length: 9e18\r\n"), 400},
      {"empty length", WithHeaders("Content-Length: \r\n"), 400},
      {"two codings", WithHeaders("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
       400},
      {"unknown coding", WithHeaders("Transfer-Encoding: gzip\r\n"), 501},
      {"coding before chunked", WithHeaders("Transfer-Encoding: gzip, chunked\r\n"), 501},
      {"chunked twice", WithHeaders("Transfer-Encoding: chunked, chunked\r\n"), 501},
      {"identity", WithHeaders("Transfer-Encoding: identity\r\n"), 501},
      {"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"bare LF after the request line", "GET / HTTP/1.1\nHost: x\r\n\r\n", 400},
      {"bare LF after a header", "GET / HTTP/1.1\r\nHost: x\n\r\n", 400},
      {"bare LF at the end", "GET / HTTP/1.1\r\nHost: x\r\n\n", 400},
      {"bare CR in a value", WithHeaders("A: b\rc\r\n"), 400},
      {"bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"space before the colon", WithHeaders("Content-Length : 3\r\n"), 400},
      {"folded line", WithHeaders("A: b\r\n c\r\n"), 400},
      {"folded with a tab", WithHeaders("A: b\r\n\tc\r\n"), 400},
      {"no colon", WithHeaders("Nothing\r\n"), 400},
      {"empty name", WithHeaders(": b\r\n"), 400},
      {"NUL in a value", WithHeaders(std::string("A: b\0c\r\n", 8)), 400},
      {"NUL in a name", WithHeaders(std::string("A\0: b\r\n", 7)), 400},
      {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400},
      {"no Host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 0},
      {"three words too many", "GET / x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"no target", "GET HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"relative target", "GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"fragment", "GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"asterisk", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"authority", "CONNECT host:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"other scheme", "GET ftp://h/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"no authority", "GET http:///p HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"bytes above ASCII", "GET /\xC3\xA9 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"lower-case version", "GET / http/1.1\r\nHost: x\r\n\r\n", 400},
      {"version 0.9", "GET / HTTP/0.9\r\n\r\n", 505},
      {"version 2.0", "GET / HTTP/2.0\r\n\r\n", 505},
      {"version 1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505},
      {"no version", "GET /\r\n\r\n", 400},
      {"method no token", "GE(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"two empty lines first", "\r\n\r\n" + ok, 400},
      {"banner of another protocol", "SSH-2.0-OpenSSH_9.2\r\n", 400},
      {"unknown expectation", WithHeaders("Expect: 200-ok\r\n"), 417},
      {"huge length", WithHeaders("Content-Length: 9223372036854775808\r\n"), 413},
      {"length with 40 digits", WithHeaders("Content-Length: " + std::string(40, '9') + "\r\n"),
       413},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Outcome(c.bytes), c.outcome) << c.what;
    EXPECT_EQ(Outcome(c.bytes, {}, nullptr, 1), c.outcome) << c.what << ", byte by byte";
  }
}

std::string Chunked(const std::string& chunks) {
  return WithHeaders("Transfer-Encoding: chunked\r\n") + chunks;
}

TEST(Http1ParserTest, ChunksAreReadStrictly) {
  const Case cases[] = {
      {"fine", Chunked("3\r\nabc\r\n0\r\n\r\n"), 0},
      {"extension", Chunked("3;a=\"b\"\r\nabc\r\n0\r\n\r\n"), 0},
      {"trailer", Chunked("0\r\nA: b\r\n\r\n"), 0},
      {"not ended", Chunked("3\r\nabc\r\n0\r\n"), -1},
      {"no digits", Chunked("\r\n"), 400},
      {"not hexadecimal", Chunked("3g\r\n"), 400},
      {"prefix", Chunked("0x3\r\nabc\r\n"), 400},
      {"negative", Chunked("-1\r\n"), 400},
      {"space first", Chunked(" 3\r\nabc\r\n"), 400},
      {"bare LF", Chunked("3\nabc\r\n"), 400},
      {"longer than said", Chunked("3\r\nabcd\r\n"), 400},
      {"overflow", Chunked("10000000000000003\r\nabc\r\n"), 413},
      {"most", Chunked("7fffffffffffffff\r\n"), 413},
      {"long extension", Chunked("3;" + std::string(1021, 'a') + "\r\n"), 400},
      {"longest extension", Chunked("3;" + std::string(1020, 'a') + "\r\nabc\r\n0\r\n\r\n"), 0},
      {"bad trailer", Chunked("0\r\nA : b\r\n\r\n"), 400},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Outcome(c.bytes), c.outcome) << c.what;
    EXPECT_EQ(Outcome(c.bytes, {}, nullptr, 1), c.outcome) << c.what << ", byte by byte";
  }
}

TEST(Http1ParserTest, EveryLimitHoldsAtItAndNotPastIt) {
  const auto target = [](size_t size) {
    return "GET /" + std::string(size - 1, 'a') + " HTTP/1.0\r\n\r\n";
  };
  EXPECT_EQ(Outcome(target(20), kSmall), 0);
  EXPECT_EQ(Outcome(target(21), kSmall), 414);
  EXPECT_EQ(Outcome("GET /" + std::string(1000, 'a'), kSmall), 414);  // not read to its end

  // A line's bytes count with its end: "A: " + value + CRLF.
  const auto header = [](size_t size) {
    return "GET / HTTP/1.0\r\nA: " + std::string(size - 5, 'b') + "\r\n\r\n";
  };
  EXPECT_EQ(Outcome(header(64), kSmall), 0);
  EXPECT_EQ(Outcome(header(65), kSmall), 431);
  EXPECT_EQ(Outcome(header(66), kSmall), 431);
  EXPECT_EQ(Outcome(header(1 << 20).substr(0, 200), kSmall), 431);

  const auto fields = [](int count) {
    std::string request = "GET / HTTP/1.0\r\n";
    for (int i = 0; i < count; ++i) request += "a:b\r\n";
    return request + "\r\n";
  };
  EXPECT_EQ(Outcome(fields(4), kSmall), 0);
  EXPECT_EQ(Outcome(fields(5), kSmall), 431);

  const auto body = [](size_t size) {
    return "POST / HTTP/1.0\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n" +
           std::string(size, 'x');
  };
  EXPECT_EQ(Outcome(body(10), kSmall), 0);
  EXPECT_EQ(Outcome(body(11), kSmall), 413);
  EXPECT_EQ(Outcome(Chunked("a\r\n0123456789\r\n0\r\n\r\n"), kSmall), 0);
  EXPECT_EQ(Outcome(Chunked("a\r\n0123456789\r\n1\r\n"), kSmall), 413);
  // Trailers count with the headers.
  EXPECT_EQ(Outcome(Chunked("0\r\nA: " + std::string(64, 'b') + "\r\n\r\n"), kSmall), 431);
}

TEST(Http1ParserTest, ConnectionsAreKeptAsAsked) {
  const auto keeps = [](std::string_view bytes) {
    Http1Parser parser({});
    parser.Feed(bytes);
    EXPECT_EQ(parser.state(), Http1Parser::State::kDone);
    return parser.keep_alive();
  };
  EXPECT_TRUE(keeps("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, CLOSE\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n"));
}

// The same bytes, in pieces drawn at random, give the same requests and the same end.
TEST(Http1ParserTest, SplitsDoNotMatter) {
  const std::string parts[] = {
      "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n1234567",
      "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
      "\r\n",
      "GET / HTTP/1.1\nHost: x\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n",
  };
  const auto transcript = [](std::string_view bytes, std::mt19937* random) {
    Http1Parser parser(kSmall);
    std::string result;
    while (!bytes.empty()) {
      const size_t piece = random == nullptr ? bytes.size() : 1 + (*random)() % 9;
      const size_t used = parser.Feed(bytes.substr(0, std::min(piece, bytes.size())));
      bytes.remove_prefix(used);
      if (parser.state() == Http1Parser::State::kFailed) {
        return result + "!" + std::to_string(parser.error_status());
      }
      if (parser.state() == Http1Parser::State::kDone) {
        const HttpRequest request = parser.TakeRequest();
        result += request.method + request.path + request.body + ";";
      }
    }
    return result;
  };
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (int i = 0; i < 6; ++i) bytes += parts[random() % std::size(parts)];
    EXPECT_EQ(transcript(bytes, nullptr), transcript(bytes, &random));
  }
}

}  // namespace
}  // namespace inferd::net
