#include "server/info_services.h"

#include <google/protobuf/timestamp.pb.h>
#include <grpcpp/support/server_callback.h>

#include <string>

#include "inferd/v1/services.grpc.pb.h"
#include "server/errors.h"
#include "server/grpc_status.h"
#include "server/model_card.h"
#include "server/rpc_context.h"
#include "server/validate.h"

namespace inferd {
namespace {

// The version of proto/inferd/v1 that this server knows.
constexpr char kApiVersion[] = "1.0";

// Ends an rpc that needed no waiting.
grpc::ServerUnaryReactor* Done(FrontEnd& front, RpcMethod method, const Status& status,
                               grpc::CallbackServerContext* context) {
  front.metrics().RpcEnded(method, status);
  AddRetryTrailer(status, context);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

void SetTimestamp(int64_t unix_us, google::protobuf::Timestamp* out) {
  out->set_seconds(unix_us / 1'000'000);
  out->set_nanos(static_cast<int32_t>(unix_us % 1'000'000 * 1000));
}

class ModelServiceImpl final : public v1::ModelService::CallbackService {
 public:
  explicit ModelServiceImpl(FrontEnd& front) : front_(front) {}

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest*,
                                       v1::ListModelsResponse* response) override {
    return Done(front_, RpcMethod::kListModels, List(*context, response), context);
  }

  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::Model* response) override {
    return Done(front_, RpcMethod::kGetModel, Get(*context, *request, response), context);
  }

 private:
  // A model that the key may not use is not there for it.
  Status List(const grpc::CallbackServerContext& context, v1::ListModelsResponse* response) const {
    INFERD_ASSIGN_OR_RETURN(const Principal principal, AuthenticateRpc(context, front_));
    INFERD_ASSIGN_OR_RETURN(const auto attached, front_.Model());
    if (CheckModelAccess(principal, attached->model).ok()) {
      FillModel(attached->model, response->add_models());
    }
    return OkStatus();
  }
  Status Get(const grpc::CallbackServerContext& context, const v1::GetModelRequest& request,
             v1::Model* response) const {
    INFERD_ASSIGN_OR_RETURN(const Principal principal, AuthenticateRpc(context, front_));
    INFERD_ASSIGN_OR_RETURN(const auto attached, front_.Model());
    INFERD_RETURN_IF_ERROR(CheckModelAccess(principal, attached->model));
    INFERD_RETURN_IF_ERROR(ValidateModelName(request.model(), attached->model));
    FillModel(attached->model, response);
    return OkStatus();
  }

  FrontEnd& front_;
};

v1::ServerState StateOf(ServerState state) {
  switch (state) {
    case ServerState::kLoading:
      return v1::SERVER_STATE_LOADING;
    case ServerState::kReady:
      return v1::SERVER_STATE_READY;
    case ServerState::kDraining:
      return v1::SERVER_STATE_DRAINING;
    case ServerState::kFailed:
      return v1::SERVER_STATE_FAILED;
  }
  return v1::SERVER_STATE_UNSPECIFIED;
}

class ServerServiceImpl final : public v1::ServerService::CallbackService {
 public:
  ServerServiceImpl(FrontEnd& front, const LoadSampler& load) : front_(front), load_(load) {}

  // Also while loading: what is not known yet is zero, and so is what a key may not know.
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest*,
                                          v1::GetServerInfoResponse* out) override {
    const StatusOr<Principal> principal = AuthenticateRpc(*context, front_);
    if (principal.ok()) FillInfo(*principal, out);
    return Done(front_, RpcMethod::kGetServerInfo, principal.status(), context);
  }

  grpc::ServerUnaryReactor* GetLoad(grpc::CallbackServerContext* context, const v1::GetLoadRequest*,
                                    v1::GetLoadResponse* response) override {
    return Done(front_, RpcMethod::kGetLoad, Load(*context, response), context);
  }

 private:
  Status Load(const grpc::CallbackServerContext& context, v1::GetLoadResponse* response) const {
    INFERD_ASSIGN_OR_RETURN(const Principal principal, AuthenticateRpc(context, front_));
    INFERD_ASSIGN_OR_RETURN(const auto attached, front_.Model());
    INFERD_RETURN_IF_ERROR(CheckModelAccess(principal, attached->model));
    FillLoad(*attached, response->add_engines());
    return OkStatus();
  }
  void FillInfo(const Principal& principal, v1::GetServerInfoResponse* out) const {
    out->set_version(front_.options().version);
    out->set_git_commit(front_.options().git_commit);
    out->set_api_version(kApiVersion);
    out->set_instance_id(front_.instance_id());
    SetTimestamp(front_.start_unix_us(), out->mutable_start_time());
    out->set_state(StateOf(front_.state()));
    out->set_tensor_parallel_size(1);
    out->set_pipeline_parallel_size(1);
    out->set_data_parallel_size(1);
    const auto attached = front_.model_or_null();
    if (attached != nullptr && CheckModelAccess(principal, attached->model).ok()) {
      const ServedModel& model = attached->model;
      out->set_kv_block_size(model.block_size);
      out->set_total_kv_blocks(model.num_blocks);
      out->set_max_running_requests(model.max_running);
      out->set_max_queued_requests(model.max_queued_requests);
      out->set_max_batched_tokens(model.max_batched_tokens);
      out->set_max_model_len(model.max_model_len);
      out->set_tensor_parallel_size(model.tp);
      out->set_pipeline_parallel_size(model.pp);
      out->set_data_parallel_size(model.dp);
      for (int32_t i = 0; i < model.tp * model.pp * model.dp; ++i) {
        v1::Device* device = out->add_devices();
        device->set_index(i);
        device->set_name(model.device.empty() ? model.backend : model.device);
      }
    }
  }
  void FillLoad(const AttachedModel& attached, v1::EngineLoad* out) const {
    const EngineStats stats = attached.engine.Stats();
    const LoadSampler::Rates rates = load_.Get();
    out->set_running_requests(stats.running);
    out->set_waiting_requests(stats.waiting);
    out->set_waiting_prompt_tokens(stats.waiting_prompt_tokens);
    out->set_kv_used_blocks(stats.blocks_used);
    out->set_kv_total_blocks(stats.blocks_total);
    if (stats.blocks_total > 0) {
      out->set_kv_cache_usage(static_cast<double>(stats.blocks_used) / stats.blocks_total);
    }
    if (stats.prefix_query_tokens > 0) {
      out->set_prefix_cache_hit_rate(static_cast<double>(stats.prefix_hit_tokens) /
                                     static_cast<double>(stats.prefix_query_tokens));
    }
    out->set_generation_tokens_per_second(rates.generation_tokens_per_second);
    out->set_prompt_tokens_per_second(rates.prompt_tokens_per_second);
    out->set_max_running_requests(attached.model.max_running);
    SetTimestamp(front_.clock().UnixUs(), out->mutable_sampled_at());
  }

  FrontEnd& front_;
  const LoadSampler& load_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeModelService(FrontEnd& front) {
  return std::make_unique<ModelServiceImpl>(front);
}
std::unique_ptr<grpc::Service> MakeServerService(FrontEnd& front, const LoadSampler& load) {
  return std::make_unique<ServerServiceImpl>(front, load);
}

}  // namespace inferd
