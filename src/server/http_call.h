#pragma once

#include <memory>

#include "inferd/net/http.h"
#include "server/access_log.h"
#include "server/front_end.h"

namespace inferd {

// One HTTP request that has found its route: whom to answer, and as whom it came.
// Plain data.
struct HttpCall {
  FrontEnd& front;
  std::shared_ptr<HttpExchange> exchange;
  CallerInfo caller;
};

}  // namespace inferd
