#include "serve/grpc/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <utility>

#include "serve/grpc/grpc_call.h"

namespace nacre {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using Response = ReflectionService::Response;

void fail(Response& response, RpcCode code, const std::string& message) {
  auto& error = *response.mutable_error_response();
  error.set_error_code(static_cast<int>(code));
  error.set_error_message(message);
}

/// The file, and those that it imports, each once.
void add_files(const FileDescriptor& file, std::set<const FileDescriptor*>& seen, Response& response) {
  if (!seen.insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  response.mutable_file_descriptor_response()->add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) add_files(*file.dependency(i), seen, response);
}

void tell_file(const FileDescriptor* file, const std::string& name, Response& response) {
  if (file == nullptr) return fail(response, RpcCode::kNotFound, name + " is not known");
  std::set<const FileDescriptor*> seen;
  add_files(*file, seen, response);
}

}  // namespace

ReflectionService::ReflectionService(std::set<std::string> services) : services_(std::move(services)) {}

RpcStatus ReflectionService::converse(std::string_view question, std::string& framed) const {
  Request request;
  if (!request.ParseFromArray(question.data(), static_cast<int>(question.size())))
    return {RpcCode::kInternal, "Unable to parse request"};
  return frame_message(answer(request), framed);
}

ReflectionService::Response ReflectionService::answer(const Request& request) const {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  Response response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kListServices:
      for (const std::string& name : services_)
        response.mutable_list_services_response()->add_service()->set_name(name);
      break;
    case Request::kFileByFilename:
      tell_file(pool.FindFileByName(request.file_by_filename()), request.file_by_filename(), response);
      break;
    case Request::kFileContainingSymbol:
      tell_file(pool.FindFileContainingSymbol(request.file_containing_symbol()),
                request.file_containing_symbol(), response);
      break;
    case Request::kFileContainingExtension:
    case Request::kAllExtensionNumbersOfType:
      fail(response, RpcCode::kNotFound, "there are no extensions");
      break;
    case Request::MESSAGE_REQUEST_NOT_SET:
      fail(response, RpcCode::kInvalidArgument, "no question");
      break;
  }
  return response;
}

}  // namespace nacre
