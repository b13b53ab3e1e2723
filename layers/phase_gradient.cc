#include "layers/phase_gradient.h"

#include <algorithm>
#include <cstring>

#include "engine/gemm.h"
#include "engine/tensor.h"
#include "engine/vector_math.h"
#include "layers/aligned_floats.h"
#include "layers/direct_conv.h"
#include "layers/padded_rows.h"

namespace nacre {
namespace {

// Results that are computed before they are put among those of other phases: they should stay in the
// first-level cache.
constexpr int64_t kResults = 4 * 1024;

/// The axis of a phase, of inputs with (input + before) % stride = remainder; `first` is the first of them.
WindowAxis phase_axis(const WindowAxis& axis, int64_t remainder, int64_t first) {
  WindowAxis phase;
  phase.in = axis.out;
  phase.out = first < axis.in ? (axis.in - 1 - first) / axis.stride + 1 : 0;
  phase.window = remainder < axis.window ? (axis.window - 1 - remainder) / axis.stride + 1 : 0;
  phase.before = phase.window - 1 - (first + axis.before) / axis.stride;
  return phase;
}

int64_t first_input(const WindowAxis& axis, int64_t remainder) {
  return (remainder + axis.stride - axis.before % axis.stride) % axis.stride;
}

}  // namespace

bool PhaseGradient::can(const ConvGeometry& geometry) {
  const WindowAxis& y = geometry.window.y;
  const WindowAxis& x = geometry.window.x;
  if (geometry.groups > 1 || (y.stride == 1 && x.stride == 1)) return false;
  // Of windows smaller than a step some inputs would have no cells.
  if (y.window < y.stride || x.window < x.stride) return false;
  for (const WindowAxis* axis : {&y, &x}) {
    for (int64_t remainder = 0; remainder < axis->stride; ++remainder) {
      // With much padding before small windows, the first gradients of a phase may meet no input.
      if (phase_axis(*axis, remainder, first_input(*axis, remainder)).before < 0) return false;
    }
  }
  return true;
}

PhaseGradient::Phase PhaseGradient::phase(int64_t remainder_y, int64_t remainder_x) const {
  Phase phase;
  phase.y = first_input(g_.window.y, remainder_y);
  phase.x = first_input(g_.window.x, remainder_x);
  phase.first_ky = remainder_y;
  phase.first_kx = remainder_x;
  phase.conv.window.y = phase_axis(g_.window.y, remainder_y, phase.y);
  phase.conv.window.x = phase_axis(g_.window.x, remainder_x, phase.x);
  phase.conv.channels = g_.filters;
  phase.conv.filters = g_.channels;
  return phase;
}

template <typename Body>
void PhaseGradient::for_each_phase(const Body& body) const {
  for (int64_t y = 0; y < g_.window.y.stride; ++y) {
    for (int64_t x = 0; x < g_.window.x.stride; ++x) {
      const Phase each = phase(y, x);
      if (each.conv.positions() > 0) body(each);
    }
  }
}

int64_t PhaseGradient::kernel_floats(const Phase& phase) {
  return align_floats(static_cast<int64_t>(packed_b_floats(phase.conv.patch(), phase.conv.filters)));
}

int64_t PhaseGradient::packed_floats() const {
  int64_t floats = 0;
  int64_t largest = 0;
  for_each_phase([&](const Phase& each) {
    floats += kernel_floats(each);
    largest = std::max(largest, each.conv.kernel_size());
  });
  return floats + largest;
}

void PhaseGradient::pack(const float* kernel, float* packed) const {
  float* turned = packed;
  for_each_phase([&](const Phase& each) { turned += kernel_floats(each); });
  for_each_phase([&](const Phase& each) {
    // [channels][cells, from the last to the first][filters]
    const Window2& cells = each.conv.window;
    const int64_t patch = each.conv.patch();
    for (int64_t cell = 0; cell < cells.cells(); ++cell) {
      const int64_t ky = each.first_ky + (cells.y.window - 1 - cell / cells.x.window) * g_.window.y.stride;
      const int64_t kx = each.first_kx + (cells.x.window - 1 - cell % cells.x.window) * g_.window.x.stride;
      const float* from = kernel + (ky * g_.window.x.window + kx) * g_.channels * g_.filters;
      for (int64_t c = 0; c < g_.channels; ++c) {
        std::copy_n(from + c * g_.filters, g_.filters, turned + c * patch + cell * g_.filters);
      }
    }
    pack_b(patch, g_.channels, turned, patch, true, packed);
    packed += kernel_floats(each);
  });
}

int64_t PhaseGradient::rows_at_once(const Phase& phase) const {
  const int64_t rows = kResults / (phase.conv.window.x.out * g_.channels);
  return std::clamp<int64_t>(rows, std::min<int64_t>(4, phase.conv.window.y.out), phase.conv.window.y.out);
}

size_t PhaseGradient::scratch_bytes() const {
  int64_t floats = 0;
  for_each_phase([&](const Phase& each) {
    const int64_t rows = rows_at_once(each);
    floats = std::max(floats, align_floats(padded_rows_floats(each.conv, rows)) +
                                  rows * each.conv.window.x.out * g_.channels);
  });
  return float_bytes(floats);
}

void PhaseGradient::compute(const float* grad, const float* packed, std::byte* scratch, bool add,
                            float* grad_image) const {
  const int64_t line = g_.window.x.in * g_.channels;
  for_each_phase([&](const Phase& each) {
    const int64_t width = each.conv.window.x.out;
    const int64_t most = rows_at_once(each);
    auto* padded = reinterpret_cast<float*>(scratch);
    float* const results = padded + align_floats(padded_rows_floats(each.conv, most));
    for (int64_t begin = 0; begin < each.conv.window.y.out; begin += most) {
      const int64_t rows = std::min(most, each.conv.window.y.out - begin);
      const PaddedRows input = padded_rows(each.conv, grad, begin, begin + rows, padded);
      direct_conv_rows(each.conv, input, rows, packed, nullptr, results);
      const float* from = results;
      for (int64_t row = begin; row < begin + rows; ++row) {
        float* to = grad_image + (each.y + row * g_.window.y.stride) * line + each.x * g_.channels;
        for (int64_t i = 0; i < width; ++i, from += g_.channels, to += g_.window.x.stride * g_.channels) {
          if (add) {
            nacre::add(g_.channels, to, from, to);
          } else {
            std::memcpy(to, from, static_cast<size_t>(g_.channels) * sizeof(float));
          }
        }
      }
    }
    packed += kernel_floats(each);
  });
}

}  // namespace nacre
