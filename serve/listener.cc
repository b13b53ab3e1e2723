#include "serve/listener.h"

#include <fmt/format.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <system_error>

namespace nacre {
namespace {

/// Descriptors that connections leave to files and other sockets.
constexpr size_t kSpareDescriptors = 64;

// Looks whether the peer of a connection that says nothing is still there.
constexpr int kQuietSeconds = 120;
constexpr int kProbeSeconds = 30;
constexpr int kProbes = 4;

using Addresses = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

/// Null when there are none.
Addresses resolve(const std::string& address, uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_flags = flags | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) found = nullptr;
  return {found, freeaddrinfo};
}

/// errno, or 0 when it listens.
int listen_at(const addrinfo& address, OwnedFd& out) {
  OwnedFd socket(::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return errno;
  const int on = 1;
  const int off = 0;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // Connections inherit these. A peer that has vanished without a word is noticed after four minutes.
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_KEEPIDLE, &kQuietSeconds, sizeof kQuietSeconds);
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_KEEPINTVL, &kProbeSeconds, sizeof kProbeSeconds);
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_KEEPCNT, &kProbes, sizeof kProbes);
  if (address.ai_family == AF_INET6) ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (::bind(socket.get(), address.ai_addr, address.ai_addrlen) != 0) return errno;
  if (::listen(socket.get(), SOMAXCONN) != 0) return errno;
  out = std::move(socket);
  return 0;
}

}  // namespace

void OwnedFd::reset() {
  if (is_open()) ::close(fd_);
  fd_ = -1;
}

Result<Listener> listen_at(const std::string& address, uint16_t port, AddressForm form) {
  const auto failed = [&](int error) {
    return Status(StatusCode::kIo,
                  fmt::format("{}:{}: {}", address, port, std::generic_category().message(error)));
  };
  const bool number = form == AddressForm::kNumber;
  Listener listener;
  if (!number && address == "0.0.0.0") {
    if (auto both = listen_at("::", port, AddressForm::kNumber); both.ok()) return both;
  }
  const Addresses found = resolve(address, port, number ? AI_NUMERICHOST : 0);
  if (found == nullptr) {
    if (number) return Status(StatusCode::kUsage, fmt::format("{}: expected an IP address", address));
    return Status(StatusCode::kIo, fmt::format("{}:{}: the name stands for no address", address, port));
  }
  int error = 0;
  for (addrinfo* next = found.get(); next != nullptr; next = next->ai_next) {
    // Behind the first all listen to its port.
    if (listener.port != 0 && next->ai_family == AF_INET)
      reinterpret_cast<sockaddr_in*>(next->ai_addr)->sin_port = htons(listener.port);
    if (listener.port != 0 && next->ai_family == AF_INET6)
      reinterpret_cast<sockaddr_in6*>(next->ai_addr)->sin6_port = htons(listener.port);
    OwnedFd socket;
    if (const int own = listen_at(*next, socket); own != 0) {
      error = own;
      continue;
    }
    listener.port = own_port(socket.get());
    listener.sockets.push_back(std::move(socket));
  }
  if (listener.sockets.empty()) return failed(error);
  return listener;
}

void take_no_more(int listener) {
  // Drops what begins a connection, and only that: else it might drop the last word of one that has begun.
  std::array<sock_filter, 4> filter = {{BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(tcphdr, th_flags)),
                                        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, TH_SYN, 0, 1),
                                        BPF_STMT(BPF_RET | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, UINT32_MAX)}};
  const sock_fprog program{filter.size(), filter.data()};
  // Where it cannot be had, a few connections may be reset.
  static_cast<void>(::setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
}

uint16_t own_port(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<sockaddr_in&>(address).sin_port);
  return address.ss_family == AF_INET6 ? ntohs(reinterpret_cast<sockaddr_in6&>(address).sin6_port) : 0;
}

size_t connections_allowed(size_t wanted) {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return wanted;
  const auto limit = static_cast<size_t>(files.rlim_cur);
  return std::min(wanted, std::max<size_t>(limit, kSpareDescriptors + 16) - kSpareDescriptors);
}

}  // namespace nacre
