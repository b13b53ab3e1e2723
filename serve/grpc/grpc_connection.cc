#include "serve/grpc/grpc_connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <utility>

namespace nacre {
namespace {

constexpr size_t kReceiveBytes = size_t{64} << 10;
/// That is sent at once, and that one who does not read makes the server hold.
constexpr size_t kSendBytes = size_t{64} << 10;
/// That one connection brings before it is another's turn.
constexpr size_t kTurnBytes = size_t{1} << 20;
/// What a client may still send after the last word, so that it reads that.
constexpr size_t kMaxDiscarded = size_t{1} << 20;
constexpr std::chrono::milliseconds kLinger{500};
/// What a thread does for a connection at a stretch, where others leave it more and more.
constexpr int kMostRounds = 8;
constexpr uint32_t kReadable = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
/// Of a buffer, for the next time.
constexpr size_t kKeptBytes = size_t{4} << 10;

}  // namespace

GrpcConnection::GrpcConnection(OwnedFd socket, std::string peer, uint64_t id, GrpcShared& shared)
    : Connection(id), shared_(shared), socket_(std::move(socket)), peer_(std::move(peer)) {}

/// The loop's first event begins it: here others wait for a new connection.
void GrpcConnection::start() {
  wake_at(ServeClock::now() + time_for(state_));
  if (shared_.loop.poller().add(socket_.get(), id()) != 0) close();
}

void GrpcConnection::post(GrpcReply reply) {
  try {
    const std::lock_guard lock(inbox_mutex_);
    inbox_.push_back(std::move(reply));
  } catch (const std::bad_alloc&) {
    return enter(kClose);
  }
  enter(kPosted);
}

ServeClock::time_point GrpcConnection::on_time(ServeClock::time_point now) {
  if (deadline_.load() <= now) enter(kTime);
  return deadline_;
}

/// Does it, unless another thread is at work, which then does it next. What comes in is for the loop's
/// threads, and for none of them for ever.
void GrpcConnection::enter(uint32_t what) {
  if ((pending_.fetch_or(what | kBusy) & kBusy) != 0) return;
  const auto self = shared_from_this();
  for (int round = 0;; ++round) {
    uint32_t next = pending_.exchange(kBusy) & ~kBusy;
    if ((next & kReadable) != 0 && (round >= kMostRounds || !ConnectionLoop::is_receiver())) {
      next &= ~kReadable;
      shared_.loop.poller().tell_again(socket_.get(), id());
    }
    try {
      if (state_ != State::kClosed) work(next);
    } catch (const std::bad_alloc&) {
      failed_ = true;  // it is lost, the others go on
    }
    if (failed_ || state_ == State::kClosed) end();
    uint32_t idle = kBusy;
    if (pending_.compare_exchange_strong(idle, 0)) return;
  }
}

void GrpcConnection::work(uint32_t what) {
  if ((what & kClose) != 0) {
    failed_ = true;
    return;
  }
  if ((what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up_ = true;
  if ((what & kDrain) != 0) draining_ = true;
  if (session_ == nullptr) begin();
  if ((what & kPosted) != 0) take_posted();
  if ((what & kTime) != 0) look_at_time();
  if (draining_) session_->go_away();
  if ((what & kReadable) != 0) readable_ = true;
  if (!failed_) flush();
  // Who does not take what is sent is not listened to: else it could make the server hold ever more of it.
  if (readable_ && !failed_ && !is_stuck()) {
    receive();
    if (!failed_) flush();
  }
  if (!failed_) settle();
}

void GrpcConnection::begin() {
  if (shared_.tls.has_value()) tls_.emplace(*shared_.tls);
  const Http2Session::Limits limits = {
      .calls = {shared_.limits.max_message_bytes, &shared_.received, &shared_.unsent},
      .transfer = shared_.limits.transfer,
      .access = &shared_.access,
      .goaway_grace = shared_.limits.goaway_grace};
  const auto self = std::static_pointer_cast<GrpcConnection>(shared_from_this());
  session_ =
      std::make_unique<Http2Session>(shared_.methods, limits, std::weak_ptr<GrpcReplySink>(self), peer_);
  state_ends_ = ServeClock::now() + time_for(state_);
}

/// Does what calls have asked for; once it is closed, lets go of them: they hold their connection.
void GrpcConnection::take_posted() {
  posted_.clear();
  {
    const std::lock_guard lock(inbox_mutex_);
    posted_.swap(inbox_);
  }
  if (session_ != nullptr)
    for (GrpcReply& reply : posted_) session_->take(std::move(reply));
  posted_.clear();
}

void GrpcConnection::look_at_time() {
  const ServeClock::time_point now = ServeClock::now();
  session_->on_time(now);
  if (state_ends_ > now) return;
  if (state_ == State::kIdle) {
    draining_ = true;
    state_ends_ = ServeClock::time_point::max();  // the session looks after its end
  } else {
    failed_ = true;
  }
}

void GrpcConnection::receive() {
  readable_ = false;
  std::array<char, kReceiveBytes> bytes;  // NOLINT: is written before it is read
  for (size_t taken = 0; !failed_;) {
    if (taken >= kTurnBytes) return shared_.loop.poller().tell_again(socket_.get(), id());
    if (taken > 0 && !failed_) flush();  // answers to what has come do not pile up
    if (failed_ || is_stuck()) {
      readable_ = true;
      return;
    }
    const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && would_block(errno)) return;
    const auto size = static_cast<size_t>(std::max<ssize_t>(count, 0));
    taken += size;
    if (count <= 0 || !take({bytes.data(), size})) failed_ = true;
    // Less than there is room for: that was all, and what comes later is a change. The end is told of but
    // once.
    if (size < bytes.size() && !hung_up_) return;
  }
}

/// False when the connection is over.
bool GrpcConnection::take(std::string_view bytes) {
  if (state_ == State::kLingering) {
    discarded_ += bytes.size();
    return discarded_ <= kMaxDiscarded;
  }
  if (!tls_.has_value()) return session_->receive(bytes);
  std::string plain;
  const bool good = tls_->receive(bytes, plain, out_);
  if (!plain.empty() && !session_->receive(plain)) return false;
  if (!good)  // an alert may say why
    static_cast<void>(::send(socket_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL));
  return good;
}

/// Sends what there is, as long as the client takes it.
void GrpcConnection::flush() {
  while (true) {
    if (sent_ == out_.size()) {
      out_.clear();
      sent_ = 0;
      if (state_ == State::kLingering || !fill()) return;
      if (out_.empty()) {
        if (out_.capacity() > kKeptBytes) std::string().swap(out_);
        return;
      }
    }
    const ssize_t count = ::send(socket_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && would_block(errno)) return;
    if (count < 0) {
      failed_ = true;
      return;
    }
    sent_ += static_cast<size_t>(count);
    if (state_ == State::kSending) state_ends_ = ServeClock::now() + time_for(state_);
  }
}

/// Fetches what is to be sent next. False when the connection is over.
bool GrpcConnection::fill() {
  if (!tls_.has_value()) {
    failed_ = !session_->fill(out_, kSendBytes);
  } else if (tls_->is_established()) {
    std::string plain;
    failed_ = !session_->fill(plain, kSendBytes) || !tls_->send(plain, out_);
  }
  return !failed_;
}

/// Finds out what it waits for now, and until when.
void GrpcConnection::settle() {
  if (state_ == State::kLingering) return wake_at(state_ends_);
  const bool sends = is_stuck();
  if (!sends && (session_->is_over() || (session_->has_gone_away() && !session_->has_calls())))
    return linger();
  State next = State::kHandshake;
  if (session_->has_begun()) next = session_->has_calls() ? State::kWorking : State::kIdle;
  if (sends && next != State::kHandshake) next = State::kSending;
  if (next != state_) {
    state_ = next;
    const bool ends = next != State::kWorking;
    state_ends_ = ends ? ServeClock::now() + time_for(next) : ServeClock::time_point::max();
  }
  wake_at(std::min(state_ends_, session_->deadline()));
}

std::chrono::milliseconds GrpcConnection::time_for(State state) const {
  if (state == State::kHandshake) return shared_.limits.handshake;
  return state == State::kSending ? shared_.limits.send : shared_.limits.idle;
}

void GrpcConnection::wake_at(ServeClock::time_point time) {
  deadline_ = time;
  shared_.loop.wake_at(time);
}

/// Lets the client read the last word: closing while it still sends would take it away.
void GrpcConnection::linger() {
  if (::shutdown(socket_.get(), SHUT_WR) != 0) {
    failed_ = true;
    return;
  }
  session_->cancel_calls();
  state_ = State::kLingering;
  state_ends_ = ServeClock::now() + kLinger;
  wake_at(state_ends_);
  // What has come is looked at once more; its end may have been told of.
  receive();
}

void GrpcConnection::end() {
  if (state_ == State::kClosed) return take_posted();
  state_ = State::kClosed;
  deadline_ = ServeClock::time_point::max();
  socket_.reset();
  session_.reset();
  take_posted();
  shared_.loop.remove(*this);
}

}  // namespace nacre
