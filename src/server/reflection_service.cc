#include "server/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/support/server_callback.h>

#include <unordered_set>
#include <utility>

#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/grpc_status.h"
#include "server/rpc_context.h"

namespace inferd {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

// The two versions of the protocol: same messages, different packages.
struct V1 {
  using Service = grpc::reflection::v1::ServerReflection::CallbackService;
  using Request = grpc::reflection::v1::ServerReflectionRequest;
  using Response = grpc::reflection::v1::ServerReflectionResponse;
};
struct V1Alpha {
  using Service = grpc::reflection::v1alpha::ServerReflection::CallbackService;
  using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = grpc::reflection::v1alpha::ServerReflectionResponse;
};

template <typename Response>
void SetError(grpc::StatusCode code, const char* message, Response* out) {
  out->mutable_error_response()->set_error_code(code);
  out->mutable_error_response()->set_error_message(message);
}

// The file and all it imports, each once.
template <typename Response>
void AddFiles(const FileDescriptor* file, Response* out) {
  if (file == nullptr) {
    SetError(grpc::StatusCode::NOT_FOUND, "not found", out);
    return;
  }
  std::vector<const FileDescriptor*> open = {file};
  std::unordered_set<const FileDescriptor*> seen = {file};
  while (!open.empty()) {
    const FileDescriptor* next = open.back();
    open.pop_back();
    google::protobuf::FileDescriptorProto proto;
    next->CopyTo(&proto);
    out->mutable_file_descriptor_response()->add_file_descriptor_proto(proto.SerializeAsString());
    for (int i = 0; i < next->dependency_count(); ++i) {
      if (seen.insert(next->dependency(i)).second) open.push_back(next->dependency(i));
    }
  }
}

template <typename Response>
void AddExtensionNumbers(const std::string& type, Response* out) {
  const DescriptorPool* pool = DescriptorPool::generated_pool();
  const auto* descriptor = pool->FindMessageTypeByName(type);
  if (descriptor == nullptr) {
    SetError(grpc::StatusCode::NOT_FOUND, "not found", out);
    return;
  }
  out->mutable_all_extension_numbers_response()->set_base_type_name(type);
  std::vector<const FieldDescriptor*> extensions;
  pool->FindAllExtensions(descriptor, &extensions);
  for (const FieldDescriptor* extension : extensions) {
    out->mutable_all_extension_numbers_response()->add_extension_number(extension->number());
  }
}

template <typename Version>
void Answer(const std::vector<std::string>& services, const typename Version::Request& request,
            typename Version::Response* out) {
  using Request = typename Version::Request;
  const DescriptorPool* pool = DescriptorPool::generated_pool();
  out->set_valid_host(request.host());
  *out->mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kListServices:
      for (const std::string& name : services) {
        out->mutable_list_services_response()->add_service()->set_name(name);
      }
      return;
    case Request::kFileByFilename:
      AddFiles(pool->FindFileByName(request.file_by_filename()), out);
      return;
    case Request::kFileContainingSymbol:
      AddFiles(pool->FindFileContainingSymbol(request.file_containing_symbol()), out);
      return;
    case Request::kFileContainingExtension: {
      const auto& wanted = request.file_containing_extension();
      const auto* type = pool->FindMessageTypeByName(wanted.containing_type());
      const FieldDescriptor* field =
          type == nullptr ? nullptr : pool->FindExtensionByNumber(type, wanted.extension_number());
      AddFiles(field == nullptr ? nullptr : field->file(), out);
      return;
    }
    case Request::kAllExtensionNumbersOfType:
      AddExtensionNumbers(request.all_extension_numbers_of_type(), out);
      return;
    case Request::MESSAGE_REQUEST_NOT_SET:
      SetError(grpc::StatusCode::INVALID_ARGUMENT, "empty request", out);
      return;
  }
}

// One stream of questions, answered one at a time. Deleted by OnDone.
template <typename Version>
class Reactor final
    : public grpc::ServerBidiReactor<typename Version::Request, typename Version::Response> {
 public:
  Reactor(const std::vector<std::string>& services, const Status& access) : services_(services) {
    if (access.ok()) {
      this->StartRead(&request_);
    } else {
      this->Finish(ToGrpcStatus(access));
    }
  }
  void OnReadDone(bool ok) override {
    if (!ok) {
      this->Finish(grpc::Status::OK);
      return;
    }
    response_.Clear();
    Answer<Version>(services_, request_, &response_);
    this->StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) {
      this->StartRead(&request_);
    } else {
      this->Finish(grpc::Status::CANCELLED);
    }
  }
  void OnDone() override { delete this; }

 private:
  const std::vector<std::string>& services_;
  typename Version::Request request_;
  typename Version::Response response_;
};

template <typename Version>
class ReflectionService final : public Version::Service {
 public:
  ReflectionService(FrontEnd& front, std::vector<std::string> services)
      : front_(front), services_(std::move(services)) {}
  grpc::ServerBidiReactor<typename Version::Request, typename Version::Response>*
  ServerReflectionInfo(grpc::CallbackServerContext* context) override {
    return new Reactor<Version>(services_, AuthenticateRpc(*context, front_).status());
  }

 private:
  FrontEnd& front_;
  const std::vector<std::string> services_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeReflectionV1(FrontEnd& front,
                                                std::vector<std::string> service_names) {
  return std::make_unique<ReflectionService<V1>>(front, std::move(service_names));
}
std::unique_ptr<grpc::Service> MakeReflectionV1Alpha(FrontEnd& front,
                                                     std::vector<std::string> service_names) {
  return std::make_unique<ReflectionService<V1Alpha>>(front, std::move(service_names));
}

}  // namespace inferd
