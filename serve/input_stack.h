#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace nacre {

/// Room for a call's inputs on a stack of the calling thread: calls that are answered within each other have
/// theirs one behind the other, as a batch wants them. What goes beyond kInputStackFloats has memory of its
/// own. Goes on the thread that made it, the latest first.
class StackedInputs {
 public:
  /// `floats` floats without content. Throws std::bad_alloc.
  explicit StackedInputs(size_t floats);
  ~StackedInputs();
  StackedInputs(const StackedInputs&) = delete;
  StackedInputs& operator=(const StackedInputs&) = delete;

  [[nodiscard]] std::span<float> floats() const { return floats_; }

 private:
  std::unique_ptr<float[]> own_;  ///< null on the stack
  std::span<float> floats_;
};

/// Of a thread's stack: 4 MiB, of which the system gives what has been used; it is kept until the thread
/// ends.
inline constexpr size_t kInputStackFloats = size_t{1} << 20;

}  // namespace nacre
