#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/access_record.h"
#include "serve/connection_loop.h"
#include "serve/grpc/grpc_call.h"
#include "serve/grpc/http2_session.h"
#include "serve/grpc/tls.h"

namespace nacre {

/// What clients may make a gRPC server hold, and for how long.
struct GrpcLimits {
  size_t max_message_bytes = size_t{64} << 20;   ///< of one request
  size_t max_buffered_bytes = size_t{1} << 30;   ///< of all requests that are being received or answered
  size_t max_unsent_bytes = size_t{256} << 20;   ///< of all replies that wait for their clients
  std::chrono::milliseconds handshake{10000};    ///< until a connection speaks HTTP/2
  std::chrono::milliseconds idle{600000};        ///< without a call
  std::chrono::milliseconds transfer{30000};     ///< Http2Session::Limits
  std::chrono::milliseconds send{30000};         ///< without taking anything of what is sent
  std::chrono::milliseconds goaway_grace{1000};  ///< Http2Session::Limits
};

/// What all connections of a gRPC server share.
struct GrpcShared {
  explicit GrpcShared(const GrpcLimits& given)
      : limits(given), received(given.max_buffered_bytes), unsent(given.max_unsent_bytes) {}

  const GrpcLimits limits;
  GrpcMethods methods;
  std::optional<TlsContext> tls;
  ByteBudget received;
  UnsentReplies unsent;
  AccessSink access;  ///< may be empty
  ConnectionLoop loop;
};

/// A connection: its socket, its encryption, its time. One thread at a time works on it, and nobody waits for
/// that thread: who has something for it while another is at it leaves it there.
class GrpcConnection final : public Connection, public GrpcReplySink {
 public:
  /// `peer`: the client's address.
  GrpcConnection(OwnedFd socket, std::string peer, uint64_t id, GrpcShared& shared);

  void start() override;
  void on_change(uint32_t change) override { enter(change); }
  ServeClock::time_point on_time(ServeClock::time_point now) override;
  void close() override { enter(kClose); }
  void post(GrpcReply reply) override;
  /// Ends as Http2Session::go_away says; closes when calls in hand have their answers.
  void drain() { enter(kDrain); }

 private:
  // What is to be done, beside epoll's bits.
  static constexpr uint32_t kBusy = 1U << 20;  ///< a thread is at it
  static constexpr uint32_t kPosted = 1U << 22;
  static constexpr uint32_t kTime = 1U << 23;
  static constexpr uint32_t kDrain = 1U << 24;
  static constexpr uint32_t kClose = 1U << 25;

  /// What the connection waits for.
  enum class State : uint8_t { kHandshake, kIdle, kWorking, kSending, kLingering, kClosed };

  void enter(uint32_t what);
  void work(uint32_t what);
  void begin();
  void take_posted();
  void look_at_time();
  void receive();
  bool take(std::string_view bytes);
  void flush();
  bool fill();
  void settle();
  /// The client is slow to take what is sent.
  [[nodiscard]] bool is_stuck() const { return state_ != State::kLingering && sent_ < out_.size(); }
  void linger();
  void end();
  [[nodiscard]] std::chrono::milliseconds time_for(State state) const;
  void wake_at(ServeClock::time_point time);

  GrpcShared& shared_;
  std::atomic<uint32_t> pending_{0};
  std::mutex inbox_mutex_;
  std::vector<GrpcReply> inbox_;  // guarded by inbox_mutex_
  std::atomic<ServeClock::time_point> deadline_{ServeClock::time_point::max()};

  // For the thread that is at it.
  OwnedFd socket_;
  std::string peer_;
  std::optional<TlsSession> tls_;
  std::unique_ptr<Http2Session> session_;
  State state_ = State::kHandshake;
  ServeClock::time_point state_ends_ = ServeClock::time_point::max();
  bool readable_ = false;  ///< there may be more to read than was read
  bool hung_up_ = false;   ///< the client has closed its end, behind what it has sent
  bool draining_ = false;
  bool failed_ = false;  ///< is to be closed
  std::vector<GrpcReply> posted_;
  size_t discarded_ = 0;
  std::string out_;  ///< what is to be sent
  size_t sent_ = 0;  ///< of that
};

}  // namespace nacre
