#pragma once

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// A file descriptor that is closed at the end.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnedFd() { reset(); }
  void reset();
  /// Whoever calls it closes it.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool is_open() const { return fd_ != -1; }

 private:
  int fd_ = -1;
};

/// Of a call on a descriptor that does not block: there is nothing (no room) now.
inline bool would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

/// Sockets that listen, and do not block; a name may stand for several addresses.
struct Listener {
  std::vector<OwnedFd> sockets;
  uint16_t port = 0;  ///< of all of them
};

enum class AddressForm : uint8_t {
  kNumber,      ///< an IP address
  kNameOrBoth,  ///< a name too; 0.0.0.0 is every address of both families, as gRPC has it
};

/// Listens; port 0 is any that is free. Errors are `ADDRESS:PORT: reason` (kIo), and kUsage `ADDRESS:
/// expected an IP address` of what stands for none.
Result<Listener> listen_at(const std::string& address, uint16_t port, AddressForm form);

/// Has a socket that listens begin no more connections, so that it may be closed behind those that wait for
/// `accept`: what it takes between the last `accept` and `close` would be reset.
void take_no_more(int listener);

/// The port of a socket's own end; 0 when it has none.
uint16_t own_port(int socket);

/// How many connections may be open: `wanted`, or fewer when the process may open fewer files.
size_t connections_allowed(size_t wanted);

}  // namespace nacre
