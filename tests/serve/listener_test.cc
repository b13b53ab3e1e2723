#include "serve/listener.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

namespace nacre {
namespace {

/// A client that gives up soon; not open when it could not connect.
OwnedFd connect_to(uint16_t port) {
  OwnedFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval time{0, 200'000};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    socket.reset();
  return socket;
}

TEST(ListenerTest, TakesNoMoreThanThoseThatWait) {
  auto listener = listen_at("127.0.0.1", 0, AddressForm::kNumber);
  ASSERT_TRUE(listener.ok()) << listener.status().message();
  const int socket = listener->sockets.at(0).get();
  const OwnedFd waits = connect_to(listener->port);
  ASSERT_TRUE(waits.is_open());
  take_no_more(socket);
  EXPECT_FALSE(connect_to(listener->port).is_open());
  EXPECT_TRUE(OwnedFd(::accept(socket, nullptr, nullptr)).is_open());
  EXPECT_FALSE(OwnedFd(::accept(socket, nullptr, nullptr)).is_open());
}

}  // namespace
}  // namespace nacre
