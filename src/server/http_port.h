#pragma once

#include <functional>
#include <memory>
#include <string>

#include "inferd/base/status.h"

namespace inferd {

// What the side port tells; called on its threads.
struct HttpHandlers {
  std::function<std::string()> metrics;  // Prometheus text
  std::function<bool()> ready;
  std::function<std::string()> version;  // a JSON object
};

// The HTTP side port: /metrics, /healthz, /readyz, /health, /version. A few
// threads; what waits for them is bounded, then connections wait in the kernel.
class HttpPort {
 public:
  // "host:port"; port 0 takes any free one. UNAVAILABLE naming the address when
  // it cannot be had.
  static StatusOr<std::unique_ptr<HttpPort>> Start(const std::string& address,
                                                   HttpHandlers handlers);
  // Stops listening and waits for the answers under way.
  virtual ~HttpPort() = default;
  virtual int port() const = 0;
};

}  // namespace inferd
