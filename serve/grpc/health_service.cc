#include "serve/grpc/health_service.h"

#include <chrono>
#include <new>
#include <utility>

namespace nacre {
namespace {

/// How long Watch may lag behind ServeCore::ready().
constexpr std::chrono::milliseconds kLag{20};

RpcStatus stopping() {
  return {RpcCode::kUnavailable, "the server stops"};
}

}  // namespace

HealthService::HealthService(const ServeCore& core, std::set<std::string> services)
    : core_(core), services_(std::move(services)) {
  services_.emplace();
  changes_ = std::jthread([this](const std::stop_token& stop) { tell_changes(stop); });
}

const std::string* HealthService::find(const std::string& name) const {
  const auto found = services_.find(name);
  return found == services_.end() ? nullptr : &*found;
}

HealthService::Response::ServingStatus HealthService::status_of(const std::string* service) const {
  if (service == nullptr) return Response::SERVICE_UNKNOWN;
  return core_.ready() ? Response::SERVING : Response::NOT_SERVING;
}

RpcStatus HealthService::answer_check(const Request& request, Response& response) const {
  const Response::ServingStatus status = status_of(find(request.service()));
  if (status == Response::SERVICE_UNKNOWN) return {RpcCode::kNotFound, "no service " + request.service()};
  response.set_status(status);
  return {};
}

void HealthService::watch(const std::shared_ptr<GrpcCall>& call) {
  try {
    Request request;
    if (RpcStatus decoded = call->decode(request); !decoded.ok()) return call->finish(std::move(decoded));
    call->release_request();
    const std::lock_guard lock(mutex_);
    if (stopping_) return call->finish(stopping());
    watches_.push_back({call, find(request.service()), {}});
    tell(watches_.back());
    wake_.notify_one();
  } catch (const std::bad_alloc&) {
    call->finish(rpc_out_of_memory());
  }
}

/// Tells how things are, unless that has been told or the client has not taken the last word.
void HealthService::tell(Watch& watch) const {
  const Response::ServingStatus status = status_of(watch.service);
  if (watch.told == status || !watch.call->is_sent()) return;
  Response response;
  response.set_status(status);
  try {
    watch.call->send(response);
    watch.told = status;
  } catch (const std::bad_alloc&) {  // it is tried again
  }
}

void HealthService::stop() {
  if (changes_.joinable()) {
    changes_.request_stop();
    changes_.join();
  }
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  for (const Watch& watch : watches_) watch.call->finish(stopping());
  watches_.clear();
}

void HealthService::tell_changes(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    wake_.wait(lock, stop, [this] { return !watches_.empty(); });
    wake_.wait_for(lock, stop, kLag, [] { return false; });
    watches_.remove_if([](const Watch& watch) { return watch.call->is_over(); });
    for (Watch& watch : watches_) tell(watch);
  }
}

}  // namespace nacre
