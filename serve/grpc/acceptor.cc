#include "serve/grpc/acceptor.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <new>
#include <system_error>
#include <utility>
#include <vector>

namespace nacre {
namespace {

/// When descriptors or memory have run out.
constexpr int kPauseMs = 20;
/// Between two counts of the connections that are still open.
constexpr std::chrono::milliseconds kCountPause{100};

}  // namespace

Result<std::unique_ptr<Acceptor>> Acceptor::listen(const std::string& address, int port,
                                                   size_t max_connections) {
  NACRE_ASSIGN_OR_RETURN(Listener listener,
                         listen_at(address, static_cast<uint16_t>(port), AddressForm::kNameOrBoth));
  OwnedFd stop(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!stop.is_open())
    return Status(StatusCode::kIo,
                  fmt::format("{}:{}: {}", address, port, std::generic_category().message(errno)));
  return std::unique_ptr<Acceptor>(new Acceptor(std::move(listener), std::move(stop), max_connections));
}

void Acceptor::start(std::unique_ptr<Server> server) {
  server_ = std::move(server);
  thread_ = std::thread([this] { run(); });
}

void Acceptor::stop() {
  ::eventfd_write(stop_.get(), 1);
  if (thread_.joinable()) thread_.join();
  listener_.sockets.clear();
}

void Acceptor::run() {
  std::vector<pollfd> ready = {{stop_.get(), POLLIN, 0}};
  for (const OwnedFd& socket : listener_.sockets) ready.push_back({socket.get(), POLLIN, 0});
  while (true) {
    if (::poll(ready.data(), ready.size(), -1) < 0) continue;
    if (ready.front().revents != 0) return;
    for (size_t i = 1; i < ready.size(); ++i) {
      // The one behind which nobody waits any more says so, too.
      if (ready[i].revents == 0 || accept(ready[i].fd)) continue;
      ::poll(ready.data(), 1, kPauseMs);
    }
  }
}

/// Takes one connection in. False when there is no room for it, in which case it may still wait.
bool Acceptor::accept(int listener) {
  OwnedFd socket(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket.is_open())
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ECONNABORTED;
  taken_.erase(socket.get());
  if (!has_room()) return true;  // closes it
  try {
    taken_.insert(socket.get());
    Server::NewConnectionParameters connection;
    connection.listener_fd = listener;
    connection.fd = socket.release();
    server_->HandleNewConnection(&connection);
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

bool Acceptor::has_room() {
  if (taken_.size() < max_connections_) return true;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_count_) return false;
  next_count_ = now + kCountPause;
  // What has been closed is no socket of this port any more, whatever has got its number.
  std::erase_if(taken_, [this](int fd) { return own_port(fd) != listener_.port; });
  return taken_.size() < max_connections_;
}

}  // namespace nacre
