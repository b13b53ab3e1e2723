#include "serve/grpc/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <memory>
#include <new>
#include <utility>

namespace nacre {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using Response = ReflectionService::Response;

void fail(Response& response, grpc::StatusCode code, const std::string& message) {
  auto& error = *response.mutable_error_response();
  error.set_error_code(code);
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
  if (file == nullptr) return fail(response, grpc::StatusCode::NOT_FOUND, name + " is not known");
  std::set<const FileDescriptor*> seen;
  add_files(*file, seen, response);
}

}  // namespace

/// A call: reads a request, writes its answer, and so on. Owns itself from before its arrival until gRPC is
/// done with it.
class ReflectionService::Stream final : QueuedCall {
 public:
  static void await(ReflectionService& reflection, CallThreads& threads) {
    std::unique_ptr<Stream> stream(new Stream(reflection, threads));
    reflection.service_.RequestServerReflectionInfo(&stream->context_, &stream->stream_, threads.queue(),
                                                    threads.queue(), &stream->arrived_);
    static_cast<void>(stream.release());  // it may have come, and gone, already
  }

  /// Needs the mutex.
  void stop() {
    if (reading_ && !finishing_) finish({grpc::StatusCode::UNAVAILABLE, "the server stops"});
  }

 private:
  Stream(ReflectionService& reflection, CallThreads& threads)
      : QueuedCall(threads), reflection_(reflection) {}

  void on_arrival(bool ok) {
    if (!ok) {  // the server stops
      const std::unique_ptr<Stream> last(this);
      return;
    }
    ask_next([this] { await(reflection_, threads()); });
    std::unique_lock lock(reflection_.mutex_);
    try {
      reflection_.streams_.insert(this);
    } catch (const std::bad_alloc&) {
      return finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "out of memory"});
    }
    read();
  }
  void on_read(bool ok) {
    Response response;
    grpc::Status status;
    try {
      if (ok) response = reflection_.answer(request_);
    } catch (const std::bad_alloc&) {
      status = {grpc::StatusCode::RESOURCE_EXHAUSTED, "out of memory"};
    }
    std::unique_lock lock(reflection_.mutex_);
    reading_ = false;
    if (finishing_) return leave_if_over(lock);
    if (!ok || !status.ok()) return finish(status);  // the client has no more, or there is no room
    stream_.Write(response, &written_);
  }
  void on_written(bool ok) {
    const std::lock_guard lock(reflection_.mutex_);
    if (!ok) return finish(grpc::Status::CANCELLED);
    read();
  }
  void on_finished(bool /*ok*/) {
    std::unique_lock lock(reflection_.mutex_);
    over_ = true;
    leave_if_over(lock);
  }

  // What follows needs the mutex.
  void read() {
    if (reflection_.stopping_) return finish({grpc::StatusCode::UNAVAILABLE, "the server stops"});
    reading_ = true;
    stream_.Read(&request_, &read_);
  }
  void finish(const grpc::Status& status) {
    finishing_ = true;
    stream_.Finish(status, &finished_);
  }
  void leave_if_over(std::unique_lock<std::mutex>& lock) {
    if (reading_ || !over_) return;
    reflection_.streams_.erase(this);
    lock.unlock();
    ask_next_at_last([this] { await(reflection_, threads()); });
    const std::unique_ptr<Stream> last(this);
  }

  ReflectionService& reflection_;
  grpc::ServerContext context_;
  Request request_;
  grpc::ServerAsyncReaderWriter<Response, Request> stream_{&context_};
  BoundEvent<Stream> arrived_{*this, &Stream::on_arrival};
  BoundEvent<Stream> read_{*this, &Stream::on_read};
  BoundEvent<Stream> written_{*this, &Stream::on_written};
  BoundEvent<Stream> finished_{*this, &Stream::on_finished};
  bool reading_ = false;    ///< waits for the client's next question, or looks for its answer
  bool finishing_ = false;  ///< nothing more is asked or said
  bool over_ = false;       ///< gRPC has told of the call's end
};

ReflectionService::ReflectionService(std::set<std::string> services) : services_(std::move(services)) {}

void ReflectionService::start(CallThreads& threads) {
  Stream::await(*this, threads);
}

void ReflectionService::stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  for (Stream* stream : streams_) stream->stop();
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
      fail(response, grpc::StatusCode::NOT_FOUND, "there are no extensions");
      break;
    case Request::MESSAGE_REQUEST_NOT_SET:
      fail(response, grpc::StatusCode::INVALID_ARGUMENT, "no question");
      break;
  }
  return response;
}

}  // namespace nacre
