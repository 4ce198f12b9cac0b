// AdminService, on a gRPC server of its own.
#pragma once

#include <grpcpp/server.h>

#include <functional>
#include <memory>

#include "inferd/base/status.h"
#include "inferd/v1/admin.grpc.pb.h"
#include "server/front_end.h"

namespace inferd {

// Listens until its end. Thread-safe.
class AdminPort {
 public:
  // At options().admin_address: a Unix socket that its owner alone may use, or a
  // loopback address where, if there are keys, an admin key is asked for. UNAVAILABLE
  // naming the address that cannot be had. `front` must outlive this;
  // `start_draining` is called on its threads.
  static StatusOr<std::unique_ptr<AdminPort>> Start(FrontEnd& front,
                                                    std::function<void()> start_draining);
  // Ends the calls under way.
  ~AdminPort();
  int port() const { return port_; }  // of a Unix socket: 1

 private:
  AdminPort() = default;
  std::unique_ptr<grpc::Service> service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace inferd
