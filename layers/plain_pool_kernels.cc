#include "layers/plain_pool_kernels.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/plain_pool_kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

/// The cells of one window that are inside the image.
struct Cells {
  int64_t offset;  // of the first, in elements
  int64_t rows;
  int64_t columns;
  int64_t row;  // elements from one row to the next
  int64_t pixel;
};

HWY_INLINE Cells cells_of(const ChannelWindow& pool, int64_t oy, int64_t ox) {
  const WindowAxis& y = pool.window.y;
  const WindowAxis& x = pool.window.x;
  const int64_t top = y.first_cell(oy);
  const int64_t left = x.first_cell(ox);
  return {((y.start(oy) + top) * x.in + x.start(ox) + left) * pool.channels, y.end_cell(oy) - top,
          x.end_cell(ox) - left, x.in * pool.channels, pool.channels};
}

/// body(cell's address) in row-major order.
template <typename Pointer, typename Body>
HWY_INLINE void for_each(const Cells& cells, Pointer* image, const Body& body) {
  Pointer* row = image + cells.offset;
  for (int64_t i = 0; i < cells.rows; ++i, row += cells.row) {
    Pointer* cell = row;
    for (int64_t j = 0; j < cells.columns; ++j, cell += cells.pixel) body(cell);
  }
}

HWY_INLINE Vector reciprocal_of_count(const Cells& cells) {
  return set(1.0F / static_cast<float>(cells.rows * cells.columns));
}

void max_pool_row_here(const ChannelWindow& pool, int64_t oy, const float* image, float* out) {
  for (int64_t ox = 0; ox < pool.window.x.out; ++ox, out += pool.channels) {
    const Cells cells = cells_of(pool, oy, ox);
    for_each_vector(pool.channels, [&](const auto& lanes) HWY_ATTR {
      Vector largest = lanes.load(image + cells.offset);
      for_each(cells, image, [&](const float* cell) HWY_ATTR {
        const Vector v = lanes.load(cell);
        // A NaN wins, and then stays: nothing compares greater.
        largest = hn::IfThenElse(hn::Or(hn::Gt(v, largest), hn::IsNaN(v)), v, largest);
      });
      lanes.store(largest, out);
    });
  }
}

void avg_pool_row_here(const ChannelWindow& pool, int64_t oy, const float* image, float* out) {
  for (int64_t ox = 0; ox < pool.window.x.out; ++ox, out += pool.channels) {
    const Cells cells = cells_of(pool, oy, ox);
    const Vector share = reciprocal_of_count(cells);
    for_each_vector(pool.channels, [&](const auto& lanes) HWY_ATTR {
      Vector sum = set(0);
      for_each(cells, image, [&](const float* cell) HWY_ATTR { sum = hn::Add(sum, lanes.load(cell)); });
      lanes.store(hn::Mul(sum, share), out);
    });
  }
}

/// Puts a window's gradients into an image: windows that overlap add to what is there.
template <bool overlap>
struct Put {
  template <typename Lanes>
  HWY_INLINE void operator()(const Lanes& lanes, Vector v, float* to) const {
    if constexpr (overlap) v = hn::Add(lanes.load(to), v);
    lanes.store(v, to);
  }
};

/// body(put, oy, ox) for every window, where the cells that it does not put are zero already.
template <typename Body>
HWY_INLINE void for_each_gradient(const ChannelWindow& pool, float* grad_image, const Body& body) {
  const auto apart = [](const WindowAxis& axis) { return axis.stride >= axis.window; };
  const auto covers = [](const WindowAxis& axis) {
    return axis.stride == axis.window && axis.out * axis.stride - axis.before >= axis.in;
  };
  const WindowAxis& y = pool.window.y;
  const WindowAxis& x = pool.window.x;
  if (!covers(y) || !covers(x)) std::fill_n(grad_image, pool.image_size(), 0.0F);
  const auto all = [&](const auto& put) HWY_ATTR {
    for (int64_t oy = 0; oy < y.out; ++oy) {
      for (int64_t ox = 0; ox < x.out; ++ox) body(put, oy, ox);
    }
  };
  if (apart(y) && apart(x)) {
    all(Put<false>());
  } else {
    all(Put<true>());
  }
}

void max_pool_gradient_here(const ChannelWindow& pool, const float* image, const float* largest,
                            const float* grad, float* grad_image) {
  for_each_gradient(pool, grad_image, [&](const auto& put, int64_t oy, int64_t ox) HWY_ATTR {
    const Cells cells = cells_of(pool, oy, ox);
    for_each_vector(pool.channels, [&](const auto& lanes) HWY_ATTR {
      const Vector most = lanes.load(largest);
      const auto nan = hn::IsNaN(most);
      Vector rest = lanes.load(grad);  // what has found no cell yet
      for_each(cells, image, [&](const float* cell) HWY_ATTR {
        const Vector v = lanes.load(cell);
        const auto wins = hn::Or(hn::Eq(v, most), hn::And(nan, hn::IsNaN(v)));
        put(lanes, hn::IfThenElseZero(wins, rest), grad_image + (cell - image));
        rest = hn::IfThenZeroElse(wins, rest);
      });
    });
    grad += pool.channels;
    largest += pool.channels;
  });
}

void avg_pool_gradient_here(const ChannelWindow& pool, const float* grad, float* grad_image) {
  for_each_gradient(pool, grad_image, [&](const auto& put, int64_t oy, int64_t ox) HWY_ATTR {
    const Cells cells = cells_of(pool, oy, ox);
    const Vector factor = reciprocal_of_count(cells);
    for_each_vector(pool.channels, [&](const auto& lanes) HWY_ATTR {
      const Vector share = hn::Mul(lanes.load(grad), factor);
      for_each(cells, grad_image, [&](float* cell) HWY_ATTR { put(lanes, share, cell); });
    });
    grad += pool.channels;
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {

HWY_EXPORT(max_pool_row_here);
HWY_EXPORT(max_pool_gradient_here);
HWY_EXPORT(avg_pool_row_here);
HWY_EXPORT(avg_pool_gradient_here);

void max_pool_row(const ChannelWindow& pool, int64_t oy, const float* image, float* out) {
  HWY_DYNAMIC_DISPATCH(max_pool_row_here)(pool, oy, image, out);
}

void max_pool_gradient(const ChannelWindow& pool, const float* image, const float* largest, const float* grad,
                       float* grad_image) {
  HWY_DYNAMIC_DISPATCH(max_pool_gradient_here)(pool, image, largest, grad, grad_image);
}

void avg_pool_row(const ChannelWindow& pool, int64_t oy, const float* image, float* out) {
  HWY_DYNAMIC_DISPATCH(avg_pool_row_here)(pool, oy, image, out);
}

void avg_pool_gradient(const ChannelWindow& pool, const float* grad, float* grad_image) {
  HWY_DYNAMIC_DISPATCH(avg_pool_gradient_here)(pool, grad, grad_image);
}

}  // namespace nacre
#endif  // HWY_ONCE
