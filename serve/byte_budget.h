#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

#include "serve/rpc_status.h"

namespace nacre {

/// What a call is refused with when they are not left.
inline RpcStatus budget_is_used_up() {
  return {RpcCode::kUnavailable, "too many bytes of requests are in hand"};
}

/// How many bytes calls may hold together. Thread-safe.
class ByteBudget {
 public:
  explicit ByteBudget(size_t bytes) : bytes_(bytes) {}

  /// A call's part; gives it back when it goes.
  class Share {
   public:
    Share() = default;
    Share(ByteBudget& budget, size_t bytes) : budget_(&budget), bytes_(bytes) {}
    ~Share() {
      if (budget_ != nullptr) budget_->used_ -= bytes_;
    }
    Share(Share&& other) noexcept : budget_(std::exchange(other.budget_, nullptr)), bytes_(other.bytes_) {}
    Share& operator=(Share&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    /// More of the budget that it is a share of; false, and it stays as it is, when that is not left.
    [[nodiscard]] bool grow(size_t bytes) {
      if ((budget_->used_ += bytes) > budget_->bytes_) {
        budget_->used_ -= bytes;
        return false;
      }
      bytes_ += bytes;
      return true;
    }

    /// Gives back a part of it.
    void shrink(size_t bytes) {
      bytes_ -= bytes;
      if (budget_ != nullptr) budget_->used_ -= bytes;
    }

   private:
    ByteBudget* budget_ = nullptr;
    size_t bytes_ = 0;
  };

  /// kUnavailable when they are not left.
  RpcResult<Share> take(size_t bytes) {
    Share share(*this, bytes);
    if ((used_ += bytes) <= bytes_) return share;
    return budget_is_used_up();
  }
  [[nodiscard]] size_t used() const { return used_; }

 private:
  const size_t bytes_;
  std::atomic<size_t> used_{0};
};

}  // namespace nacre
