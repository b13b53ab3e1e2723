#include "serve/grpc/grpc_transport.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace nacre {

Result<std::unique_ptr<GrpcTransport>> GrpcTransport::start(const Options& options, GrpcMethods methods,
                                                            AnswerThreads& threads) {
  GrpcLimits limits = options.limits;
  // Two messages of the largest size may always come at the same time.
  limits.max_buffered_bytes = std::max(limits.max_buffered_bytes, 2 * limits.max_message_bytes);
  std::unique_ptr<GrpcTransport> transport(new GrpcTransport(limits, threads));
  transport->shared_.methods = std::move(methods);
  transport->shared_.access = options.access;
  NACRE_RETURN_IF_ERROR(transport->listen(options));
  return transport;
}

Status GrpcTransport::listen(const Options& options) {
  if (options.ssl.has_value()) {
    auto tls = TlsContext::make(*options.ssl);
    if (!tls.ok())
      return {StatusCode::kIo,
              fmt::format("{}:{}: {}", options.address, options.port, tls.status().message())};
    shared_.tls.emplace(std::move(*tls));
  }
  const auto connect = [this](OwnedFd socket, std::string peer, uint64_t id) {
    return std::make_shared<GrpcConnection>(std::move(socket), std::move(peer), id, shared_);
  };
  NACRE_RETURN_IF_ERROR(shared_.loop.listen({.address = options.address,
                                             .port = options.port,
                                             .form = AddressForm::kNameOrBoth,
                                             .max_connections = options.max_connections},
                                            {connect, {}}));
  threads_.start([this](bool wait) { return shared_.loop.receive(wait); },
                 [this] { shared_.loop.wake_one(); });
  return {};
}

void GrpcTransport::drain(ServeClock::time_point deadline) {
  if (std::exchange(drained_, true)) return;
  shared_.loop.stop_listening(deadline);
  for (const auto& connection : shared_.loop.connections())
    std::static_pointer_cast<GrpcConnection>(connection)->drain();
  shared_.loop.wait_until_empty(deadline);
  for (const auto& connection : shared_.loop.connections()) connection->close();
  shared_.loop.stop();
  threads_.stop();
}

}  // namespace nacre
