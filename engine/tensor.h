#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "engine/memory.h"
#include "engine/shape.h"

namespace nacre {

/// Elements and their shape, owned by someone else. Copied freely; as const as its T.
template <typename T>
struct TensorView {
  T* data = nullptr;
  Shape shape;

  [[nodiscard]] int64_t size() const { return shape.num_elements(); }
  [[nodiscard]] bool empty() const { return data == nullptr; }
  operator TensorView<const T>() const { return {data, shape}; }  // NOLINT(google-explicit-constructor)
};

/// A dense row-major tensor: owns 64-byte-aligned memory, or refers to memory that `keep_alive` owns (a
/// mapped file). Moves are cheap; copies must be asked for with clone(). Threads may read one together, and
/// write to different elements.
template <typename T>
class BasicTensor {
 public:
  BasicTensor() = default;
  /// Zeroed memory for `shape`. Throws std::bad_alloc, as every container does.
  explicit BasicTensor(const Shape& shape, MemoryUse use = MemoryUse::kWhole) : shape_(shape) {
    const size_t bytes = align_up(static_cast<size_t>(shape.num_elements()) * sizeof(T));
    if (bytes == 0) return;
    storage_ = zeroed_memory(bytes, use);
    if (storage_ == nullptr) throw std::bad_alloc();
    data_ = static_cast<T*>(storage_.get());
  }
  /// Borrows `data`, 64-byte aligned, which lives as long as `keep_alive`. Such a tensor must not be written.
  BasicTensor(const Shape& shape, const T* data, std::shared_ptr<void> keep_alive)
      : shape_(shape), storage_(std::move(keep_alive)), data_(const_cast<T*>(data)), borrowed_(true) {}

  BasicTensor(BasicTensor&&) noexcept = default;
  BasicTensor& operator=(BasicTensor&&) noexcept = default;
  BasicTensor(const BasicTensor&) = delete;
  BasicTensor& operator=(const BasicTensor&) = delete;
  ~BasicTensor() = default;

  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] int64_t size() const { return shape_.num_elements(); }
  [[nodiscard]] bool borrowed() const { return borrowed_; }
  [[nodiscard]] T* data() { return data_; }
  [[nodiscard]] const T* data() const { return data_; }
  [[nodiscard]] TensorView<T> view() { return {data_, shape_}; }
  [[nodiscard]] TensorView<const T> view() const { return {data_, shape_}; }

  /// A copy in memory of its own.
  [[nodiscard]] BasicTensor clone() const {
    BasicTensor copy(shape_);
    if (copy.data_ != nullptr) std::memcpy(copy.data_, data_, static_cast<size_t>(size()) * sizeof(T));
    return copy;
  }

 private:
  Shape shape_;
  std::shared_ptr<void> storage_;
  T* data_ = nullptr;
  bool borrowed_ = false;
};

using Tensor = BasicTensor<float>;

}  // namespace nacre
