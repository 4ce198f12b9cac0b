// One HTTP/1.1 exchange, as a handler sees it: no sockets in it.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inferd {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// A whole request within the listener's limits. Plain data.
struct HttpRequest {
  std::string method;   // "POST"
  std::string path;     // the target up to '?', as sent; begins with '/'
  std::string query;    // what follows '?', as sent; may be empty
  HttpHeaders headers;  // names in lower case, in order
  std::string body;
  std::string peer;     // "203.0.113.5:4242", "[2001:db8::1]:4242", "unix"
  std::string subject;  // of the client's verified certificate; empty: none

  // The first header of that name (lower case); empty when there is none.
  std::string_view Header(std::string_view name) const;
};

// Headers that frame the message (content-length, transfer-encoding, connection,
// date) are the connection's own and must not be given.
struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  HttpHeaders headers;
  std::string body;
};

// What a handler hears of an answer under way; on the connection's network
// thread, which must not be made to wait.
class HttpExchangeEvents {
 public:
  virtual ~HttpExchangeEvents() = default;
  // The last Write is with the kernel (true) or will never be (false).
  virtual void OnWritten(bool ok) = 0;
  // The client went away, or took nothing for the stall time, before the answer
  // was complete. Once; nothing follows.
  virtual void OnDisconnect() = 0;
};

// The answering side of one request. Either Respond once, or StartStream once,
// then Writes, one at a time, then Finish. Every call returns at once, from any
// thread; calls after a disconnect do nothing. A handler that drops it unanswered
// gives the client 500.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual void Respond(HttpResponse response) = 0;
  // Whom to tell. Set before the handler returns, at most once; held until the
  // answer is complete or the client is gone.
  virtual void SetEvents(std::shared_ptr<HttpExchangeEvents> events) = 0;
  // The head goes out with the first Write, so that an early end can still be an
  // error with its own status: Respond is allowed until then.
  virtual void StartStream(HttpResponse head) = 0;
  // One piece of the body; the next only after OnWritten(true).
  virtual void Write(std::string bytes) = 0;
  // The stream's regular end; after the last OnWritten. `complete`: false closes the
  // connection instead, so that the client can tell a broken answer.
  virtual void Finish(bool complete) = 0;
};

// Serves requests; called on network threads, returns soon. What takes time goes
// elsewhere, holding the exchange.
using HttpHandler = std::function<void(HttpRequest&&, std::shared_ptr<HttpExchange>)>;

}  // namespace inferd
