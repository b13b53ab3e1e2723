#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "layers/conv.h"

namespace nacre {

/// The gradient of a convolution's input where windows move by steps above 1. Inputs whose places have the
/// same remainder by the steps, a phase, meet the same cells of the kernel; so each phase is a convolution of
/// the gradients with steps of 1, with a kernel of those cells, turned round. Nothing is multiplied by zero
/// and nothing is scattered.
class PhaseGradient {
 public:
  explicit PhaseGradient(const ConvGeometry& geometry) : g_(geometry) {}

  /// For one group, steps above 1, windows of at least a step and padding that is small beside them.
  static bool can(const ConvGeometry& geometry);

  /// Floats of the packed kernels, and of what packing needs after them.
  [[nodiscard]] int64_t packed_floats() const;
  /// Packs kernel [kh, kw, channels, filters]; `packed` is 64-byte aligned.
  void pack(const float* kernel, float* packed) const;

  /// Bytes of scratch for compute.
  [[nodiscard]] size_t scratch_bytes() const;
  /// Of one image: grad_image [H, W, channels] from grad [H', W', filters]; `add`: besides what is there.
  void compute(const float* grad, const float* packed, std::byte* scratch, bool add, float* grad_image) const;

 private:
  /// One phase: the convolution that it is (of the gradients, `channels` filters), and the first row and
  /// column of inputs that it makes.
  struct Phase {
    ConvGeometry conv;
    int64_t y;
    int64_t x;
    int64_t first_ky;
    int64_t first_kx;
  };
  [[nodiscard]] Phase phase(int64_t remainder_y, int64_t remainder_x) const;
  /// body(phase) for all that make an input.
  template <typename Body>
  void for_each_phase(const Body& body) const;
  /// Floats of one phase's packed kernel.
  [[nodiscard]] static int64_t kernel_floats(const Phase& phase);
  /// Rows that are computed at a time.
  [[nodiscard]] int64_t rows_at_once(const Phase& phase) const;

  ConvGeometry g_;
};

}  // namespace nacre
