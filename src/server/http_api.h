#pragma once

#include <memory>
#include <string>

#include "inferd/net/http.h"
#include "server/access_log.h"
#include "server/front_end.h"
#include "server/http_routes.h"
#include "server/worker_pool.h"

namespace inferd {

// Everything the daemon answers over HTTP: OpenAI's API, probes, metrics, the page.
// Handlers run on network threads and return at once: bodies are read on the
// tokenizer pool, metrics rendered on a thread of this. Thread-safe; the handlers
// must not be called after its end.
class HttpApi {
 public:
  // `front` must outlive this.
  explicit HttpApi(FrontEnd& front);

  // The main port's, and that of the side port: probes, metrics and version alone.
  HttpHandler MainHandler();
  HttpHandler SideHandler();

 private:
  void Handle(HttpRequest&& request, const std::shared_ptr<HttpExchange>& exchange, bool side_port);
  void Dispatch(const RouteMatch& match, CallerInfo&& caller, HttpRequest&& request,
                const std::shared_ptr<HttpExchange>& exchange);
  HttpResponse Ready() const;
  HttpResponse Version() const;
  void Metrics(const std::string& query, const std::shared_ptr<HttpExchange>& exchange);
  HttpResponse Ui(const CallerInfo& caller, const std::string& path) const;

  FrontEnd& front_;
  WorkerPool slow_;  // one thread; last: its jobs use what is above
};

}  // namespace inferd
