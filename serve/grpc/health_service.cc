#include "serve/grpc/health_service.h"

#include <chrono>
#include <new>
#include <optional>
#include <utility>

namespace nacre {
namespace {

/// How long Watch may lag behind ServeCore::ready().
constexpr std::chrono::milliseconds kLag{20};

}  // namespace

/// A call of Watch, from before its arrival until gRPC is done with it; owns itself. One operation of gRPC's
/// at a time, beside the wait for its end.
class HealthService::Watch final : QueuedCall {
 public:
  static void await(HealthService& health, CallThreads& threads) {
    std::unique_ptr<Watch> watch(new Watch(health, threads));
    health.service_.RequestWatch(&watch->context_, &watch->request_, &watch->writer_, threads.queue(),
                                 threads.queue(), &watch->arrived_);
    static_cast<void>(watch.release());  // it may have come, and gone, already
  }

  /// Tells how things are, unless that has been told or is being told. Needs the mutex.
  void tell() {
    if (busy_ || ended_) return;
    const Response::ServingStatus status = health_.status_of(request_.service());
    if (health_.stopping_) {
      busy_ = ended_ = true;
      writer_.Finish({grpc::StatusCode::UNAVAILABLE, "the server stops"}, &written_);
    } else if (told_ != status) {
      told_ = status;
      busy_ = true;
      Response response;
      response.set_status(status);
      writer_.Write(response, &written_);
    }
  }

 private:
  Watch(HealthService& health, CallThreads& threads) : QueuedCall(threads), health_(health) {
    context_.AsyncNotifyWhenDone(&done_);
  }

  void on_arrival(bool ok) {
    if (!ok) {  // the server stops
      const std::unique_ptr<Watch> last(this);
      return;
    }
    ask_next([this] { await(health_, threads()); });
    std::unique_lock lock(health_.mutex_);
    busy_ = false;
    try {
      health_.watches_.push_back(this);
    } catch (const std::bad_alloc&) {
      ended_ = true;
      context_.TryCancel();
    }
    health_.wake_.notify_one();
    tell();
    leave_if_over(lock);  // another thread may have been told of the end already
  }
  void on_written(bool ok) {
    std::unique_lock lock(health_.mutex_);
    busy_ = false;
    if (!ok) ended_ = true;  // the client has gone, which on_done is told of, too
    tell();
    leave_if_over(lock);
  }
  void on_done(bool /*ok*/) {
    std::unique_lock lock(health_.mutex_);
    ended_ = done_told_ = true;
    leave_if_over(lock);
  }
  void leave_if_over(std::unique_lock<std::mutex>& lock) {
    if (busy_ || !done_told_) return;
    health_.watches_.remove(this);
    lock.unlock();
    ask_next_at_last([this] { await(health_, threads()); });
    const std::unique_ptr<Watch> last(this);
  }

  HealthService& health_;
  grpc::ServerContext context_;
  Request request_;
  grpc::ServerAsyncWriter<Response> writer_{&context_};
  BoundEvent<Watch> arrived_{*this, &Watch::on_arrival};
  BoundEvent<Watch> written_{*this, &Watch::on_written};
  BoundEvent<Watch> done_{*this, &Watch::on_done};
  std::optional<Response::ServingStatus> told_;
  bool busy_ = true;        ///< its arrival or an operation has not ended
  bool ended_ = false;      ///< nothing more is told
  bool done_told_ = false;  ///< gRPC has told of the call's end
};

HealthService::HealthService(const ServeCore& core, std::set<std::string> services)
    : core_(core), services_(std::move(services)) {}

HealthService::Response::ServingStatus HealthService::status_of(const std::string& name) const {
  if (!name.empty() && !services_.contains(name)) return Response::SERVICE_UNKNOWN;
  return core_.ready() ? Response::SERVING : Response::NOT_SERVING;
}

RpcStatus HealthService::answer_check(const Request& request, Response& response) const {
  const Response::ServingStatus status = status_of(request.service());
  if (status == Response::SERVICE_UNKNOWN) return {RpcCode::kNotFound, "no service " + request.service()};
  response.set_status(status);
  return {};
}

void HealthService::start(CallThreads& threads) {
  Watch::await(*this, threads);
  changes_ = std::jthread([this](const std::stop_token& stop) { tell_changes(stop); });
}

void HealthService::stop() {
  if (changes_.joinable()) {
    changes_.request_stop();
    changes_.join();
  }
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  for (Watch* watch : watches_) watch->tell();
}

void HealthService::tell_changes(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    wake_.wait(lock, stop, [this] { return !watches_.empty(); });
    wake_.wait_for(lock, stop, kLag, [] { return false; });
    for (Watch* watch : watches_) watch->tell();
  }
}

}  // namespace nacre
