#include "net/http1_response.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace inferd::net {
namespace {

std::string_view Reason(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

bool BreaksLine(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

bool IsOurs(std::string_view name) {
  static constexpr std::array<std::string_view, 4> kOurs = {"content-length", "transfer-encoding",
                                                            "connection", "date"};
  for (const std::string_view ours : kOurs) {
    if (name.size() != ours.size()) continue;
    bool same = true;
    for (size_t i = 0; i < name.size(); ++i) {
      const char c = name[i] >= 'A' && name[i] <= 'Z' ? static_cast<char>(name[i] + 32) : name[i];
      same = same && c == ours[i];
    }
    if (same) return true;
  }
  return false;
}

void Append(std::string& out, std::string_view name, std::string_view value) {
  if (name.empty() || BreaksLine(name) || BreaksLine(value)) return;
  out.append(name).append(": ").append(value).append("\r\n");
}

// "Sun, 06 Nov 1994 08:49:37 GMT", whatever the locale.
std::string HttpDate(int64_t unix_s) {
  static constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed",
                                                       "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t time = unix_s;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                kDays[static_cast<size_t>(parts.tm_wday)], parts.tm_mday,
                kMonths[static_cast<size_t>(parts.tm_mon)], parts.tm_year + 1900, parts.tm_hour,
                parts.tm_min, parts.tm_sec);
  return text.data();
}

}  // namespace

bool HasNoBody(int status) { return status < 200 || status == 204 || status == 304; }

std::string Http1Head(const HttpResponse& response, Http1Framing framing, bool keep_alive,
                      int64_t unix_s) {
  std::string head;
  head.reserve(256);
  head.append("HTTP/1.1 ").append(std::to_string(response.status)).append(" ");
  head.append(Reason(response.status)).append("\r\n");
  Append(head, "date", HttpDate(unix_s));
  if (!response.content_type.empty() && !HasNoBody(response.status)) {
    Append(head, "content-type", response.content_type);
  }
  for (const auto& [name, value] : response.headers) {
    if (!IsOurs(name)) Append(head, name, value);
  }
  if (!HasNoBody(response.status)) {
    if (framing == Http1Framing::kLength) {
      Append(head, "content-length", std::to_string(response.body.size()));
    } else if (framing == Http1Framing::kChunked) {
      Append(head, "transfer-encoding", "chunked");
    }
  }
  Append(head, "connection", keep_alive ? "keep-alive" : "close");
  return head.append("\r\n");
}

HttpResponse ErrorResponse(int status, std::string_view message) {
  HttpResponse response;
  response.status = status;
  // In the shape of all errors of the API: "Content Too Large" has the code
  // "content_too_large".
  std::string code(Reason(status));
  if (message.empty()) message = Reason(status);
  for (char& c : code) {
    if (c == ' ') c = '_';
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  response.body = "{\"error\":{\"message\":\"" + std::string(message) + "\",\"type\":\"" +
                  (status < 500 ? "invalid_request_error" : "server_error") +
                  "\",\"param\":null,\"code\":\"" + code + "\"}}\n";
  if (status == 503) response.headers.emplace_back("retry-after", "1");
  return response;
}

std::string Chunk(std::string_view bytes) {
  std::array<char, 20> size{};
  std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
  std::string chunk;
  chunk.reserve(bytes.size() + size.size() + 2);
  return chunk.append(size.data()).append(bytes).append("\r\n");
}

}  // namespace inferd::net
