#include "bench/load/connect.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <ctime>

namespace nacre::load {
namespace {

/// Of the system's clock, by which the kernel notes when bytes come.
std::chrono::nanoseconds since_epoch(const timespec& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

/// By our clock; now if the kernel has not noted it.
Clock::time_point arrival(msghdr& message) {
  const Clock::time_point now = Clock::now();
  timespec system{};
  clock_gettime(CLOCK_REALTIME, &system);
  for (cmsghdr* note = CMSG_FIRSTHDR(&message); note != nullptr; note = CMSG_NXTHDR(&message, note)) {
    if (note->cmsg_level != SOL_SOCKET || note->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec noted{};
    std::memcpy(&noted, CMSG_DATA(note), sizeof noted);
    return now - std::max(since_epoch(system) - since_epoch(noted), std::chrono::nanoseconds::zero());
  }
  return now;
}

}  // namespace

Result<int> connect_to(const std::string& host, int port) {
  const auto failed = [](const std::string& reason) { return Status(StatusCode::kIo, reason); };
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) return failed(host + " is no IPv4 address");
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return failed("no socket");
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    ::close(socket);
    return failed("cannot connect to " + host + ":" + std::to_string(port));
  }
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(socket, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  return socket;
}

Status send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return {StatusCode::kIo, "cannot send"};
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return {};
}

Result<Received> receive_some(int socket, std::span<char> buffer) {
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(timespec))> notes{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = notes.data();
  message.msg_controllen = notes.size();
  const ssize_t count = ::recvmsg(socket, &message, 0);
  if (count <= 0) return Status(StatusCode::kIo, "the server closed the connection");
  return Received{static_cast<size_t>(count), arrival(message)};
}

}  // namespace nacre::load
