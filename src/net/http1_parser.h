// Reads HTTP/1.x requests, strictly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "inferd/net/http.h"

namespace inferd::net {

struct Http1Limits {
  int64_t max_target_bytes = 8 << 10;
  int64_t max_header_bytes = 16 << 10;  // names and values with their line ends
  int32_t max_header_fields = 100;
  int64_t max_body_bytes = 8 << 20;
};

// One request after another from a stream of bytes. What two readers could take
// differently is refused, so that no proxy in front sees other requests than we do:
// both lengths, two lengths, a bare LF, space before a colon, folded lines. The
// same bytes are judged the same however they are split. No sockets, no threads.
class Http1Parser {
 public:
  enum class State {
    kHead,    // not yet at the end of the head
    kBody,    // the head is there
    kDone,    // the request is complete
    kFailed,  // error_status() says why
  };

  explicit Http1Parser(const Http1Limits& limits) : limits_(limits) {}

  // Takes bytes up to the next change of state; the rest belongs to a later call.
  // Returns how many were taken. Takes none once done or failed.
  size_t Feed(std::string_view bytes);
  State state() const { return state_; }
  // With kFailed: 400, 413, 414, 417, 431, 501 or 505.
  int error_status() const { return error_status_; }
  // Whether anything of a request arrived.
  bool started() const { return started_; }

  // With kBody and kDone.
  bool keep_alive() const { return keep_alive_; }
  bool http10() const { return http10_; }
  bool expects_continue() const { return expects_continue_; }
  const HttpRequest& request() const { return request_; }
  // The complete request; then ready for the next.
  HttpRequest TakeRequest();

 private:
  enum class Step {
    kRequestLine,
    kHeaderLine,
    kSizedBody,
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailerLine,
  };

  size_t FeedLine(std::string_view bytes);
  size_t FeedBytes(std::string_view bytes);
  void OnLine();
  void OnRequestLine();
  bool OnTarget(std::string_view target);
  void OnHeaderLine();
  void OnHeadEnd();
  void OnChunkSize();
  void FinishBody();
  void Fail(int status);
  // The most bytes the current line may have, and how a longer one fails.
  int64_t LineLimit() const;
  int LineLimitStatus() const;

  const Http1Limits limits_;
  State state_ = State::kHead;
  Step step_ = Step::kRequestLine;
  int error_status_ = 0;
  bool started_ = false;
  bool skipped_empty_line_ = false;
  std::string line_;
  int64_t header_bytes_ = 0;
  int32_t header_fields_ = 0;
  uint64_t left_ = 0;  // of the sized body or the chunk
  HttpRequest request_;
  bool http10_ = false;
  bool keep_alive_ = true;
  bool expects_continue_ = false;
};

}  // namespace inferd::net
