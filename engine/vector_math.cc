#include "engine/vector_math.h"

#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/vector_math.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

void relu_forward_here(int64_t n, const float* x, float* y) {
  const Vector zero = set(0);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector v = lanes.load(x);
    lanes.store(hn::IfThenElse(hn::Lt(v, zero), zero, v), y);
  });
}

void relu_backward_here(int64_t n, const float* y, const float* dy, float* dx) {
  const Vector zero = set(0);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    lanes.store(hn::IfThenElse(hn::Gt(lanes.load(y), zero), lanes.load(dy), zero), dx);
  });
}

void relu6_forward_here(int64_t n, const float* x, float* y) {
  const Vector zero = set(0);
  const Vector six = set(6);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector v = lanes.load(x);
    lanes.store(hn::IfThenElse(hn::Lt(v, zero), zero, hn::IfThenElse(hn::Gt(v, six), six, v)), y);
  });
}

void relu6_backward_here(int64_t n, const float* y, const float* dy, float* dx) {
  const Vector zero = set(0);
  const Vector six = set(6);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector v = lanes.load(y);
    lanes.store(hn::IfThenElseZero(hn::And(hn::Gt(v, zero), hn::Lt(v, six)), lanes.load(dy)), dx);
  });
}

void leaky_relu_forward_here(int64_t n, float slope, const float* x, float* y) {
  const Vector zero = set(0);
  const Vector factor = set(slope);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector v = lanes.load(x);
    lanes.store(hn::IfThenElse(hn::Lt(v, zero), hn::Mul(factor, v), v), y);
  });
}

void leaky_relu_backward_here(int64_t n, float slope, const float* y, const float* dy, float* dx) {
  const Vector zero = set(0);
  const Vector factor = set(slope);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector gradient = lanes.load(dy);
    lanes.store(hn::IfThenElse(hn::Gt(lanes.load(y), zero), gradient, hn::Mul(factor, gradient)), dx);
  });
}

void elu_forward_here(int64_t n, float alpha, const float* x, float* y) {
  const Vector zero = set(0);
  const Vector limit = set(alpha);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector v = lanes.load(x);
    const Vector bent = hn::Mul(limit, hn::Expm1(Tag(), hn::Min(v, zero)));
    lanes.store(hn::IfThenElse(hn::Lt(v, zero), bent, v), y);
  });
}

void elu_backward_here(int64_t n, float alpha, const float* y, const float* dy, float* dx) {
  const Vector zero = set(0);
  const Vector limit = set(alpha);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector v = lanes.load(y);
    const Vector gradient = lanes.load(dy);
    lanes.store(hn::IfThenElse(hn::Gt(v, zero), gradient, hn::Mul(gradient, hn::Add(v, limit))), dx);
  });
}

void tanh_forward_here(int64_t n, const float* x, float* y) {
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR { lanes.store(hn::Tanh(Tag(), lanes.load(x)), y); });
}

void tanh_backward_here(int64_t n, const float* y, const float* dy, float* dx) {
  const Vector one = set(1);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector v = lanes.load(y);
    lanes.store(hn::Mul(lanes.load(dy), hn::NegMulAdd(v, v, one)), dx);
  });
}

/// exp of what is at most 0; Highway's makes 0 of NaN.
HWY_INLINE Vector exp_below(Vector v) {
  return hn::IfThenElse(hn::IsNaN(v), v, hn::Exp(Tag(), v));
}

void sigmoid_forward_here(int64_t n, const float* x, float* y) {
  const Vector zero = set(0);
  const Vector one = set(1);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector v = lanes.load(x);
    // The exponential of a number below zero never overflows.
    const Vector e = exp_below(hn::Neg(hn::Abs(v)));
    lanes.store(hn::Div(hn::IfThenElse(hn::Lt(v, zero), e, one), hn::Add(one, e)), y);
  });
}

void sigmoid_backward_here(int64_t n, const float* y, const float* dy, float* dx) {
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector v = lanes.load(y);
    lanes.store(hn::Mul(lanes.load(dy), hn::NegMulAdd(v, v, v)), dx);
  });
}

/// The lanes' sum, in one order.
HWY_INLINE float total(Vector v) {
  return hn::GetLane(hn::SumOfLanes(Tag(), v));
}

void softmax_forward_here(int64_t n, const float* x, float* y) {
  const Vector lowest = set(-std::numeric_limits<float>::infinity());
  Vector largest = lowest;
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector v = lanes.inside(lanes.load(x), lowest);
    // A NaN wins, and then stays: nothing compares greater.
    largest = hn::IfThenElse(hn::Or(hn::Gt(v, largest), hn::IsNaN(v)), v, largest);
  });
  const Vector reduced = hn::MaxOfLanes(Tag(), largest);
  const bool any_nan = !hn::AllFalse(Tag(), hn::IsNaN(largest));
  const Vector top = any_nan ? set(std::numeric_limits<float>::quiet_NaN()) : reduced;
  Vector sum = set(0);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector e = exp_below(hn::Sub(lanes.load(x), top));
    sum = hn::Add(sum, lanes.inside(e, set(0)));
    lanes.store(e, y);
  });
  const Vector all = set(total(sum));
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR { lanes.store(hn::Div(lanes.load(y), all), y); });
}

void softmax_backward_here(int64_t n, const float* y, const float* dy, float* dx) {
  Vector sum = set(0);
  for_each_vector(n,
                  [&](const auto& lanes) HWY_ATTR { sum = hn::MulAdd(lanes.load(y), lanes.load(dy), sum); });
  const Vector dot = set(total(sum));
  for_each_vector(n, [&](const auto& lanes)
                         HWY_ATTR { lanes.store(hn::Mul(lanes.load(y), hn::Sub(lanes.load(dy), dot)), dx); });
}

void drop_here(int64_t n, const uint32_t* bits, uint32_t threshold, float scale, const float* x, float* y) {
  const hn::RebindToUnsigned<Tag> du;
  const auto least = hn::Set(du, threshold);
  const Vector factor = set(scale);
  const auto* random = reinterpret_cast<const float*>(bits);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const auto dropped = hn::RebindMask(Tag(), hn::Lt(hn::BitCast(du, lanes.load(random)), least));
    lanes.store(hn::IfThenZeroElse(dropped, hn::Mul(lanes.load(x), factor)), y);
  });
}

void scale_bytes_here(int64_t n, const uint8_t* x, float scale, float* y) {
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  const hn::Rebind<uint8_t, Tag> bytes;
  const Vector factor = set(scale);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vector v = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(bytes, x + i)));
    hn::StoreU(hn::Mul(v, factor), d, y + i);
  }
  for (; i < n; ++i) y[i] = static_cast<float>(x[i]) * scale;
}

void add_here(int64_t n, const float* a, const float* b, float* y) {
  for_each_vector(n,
                  [&](const auto& lanes) HWY_ATTR { lanes.store(hn::Add(lanes.load(a), lanes.load(b)), y); });
}

void add_rows_here(int64_t rows, int64_t n, const float* x, float* sum) {
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    Vector all = lanes.load(sum);
    const float* row = x;
    for (int64_t r = 0; r < rows; ++r, row += n) all = hn::Add(all, lanes.load(row));
    lanes.store(all, sum);
  });
}

void adam_update_here(int64_t n, const AdamStep& adam, const float* gradient, float* w, float* m, float* v) {
  const Vector step = set(adam.step);
  const Vector rate1 = set(1 - adam.beta1);
  const Vector rate2 = set(1 - adam.beta2);
  const Vector epsilon = set(adam.epsilon);
  const Vector decay = set(adam.weight_decay);
  const Vector scale = set(adam.gradient_scale);
  const Vector decoupled = set(adam.decoupled_decay);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector weight = lanes.load(w);
    const Vector g = hn::MulAdd(decay, weight, hn::Mul(scale, lanes.load(gradient)));
    const Vector old_mean = lanes.load(m);
    const Vector mean = hn::MulAdd(rate1, hn::Sub(g, old_mean), old_mean);
    const Vector old_square = lanes.load(v);
    const Vector square = hn::MulAdd(rate2, hn::Sub(hn::Mul(g, g), old_square), old_square);
    lanes.store(mean, m);
    lanes.store(square, v);
    const Vector kept = hn::NegMulAdd(decoupled, weight, weight);
    lanes.store(hn::Sub(kept, hn::Div(hn::Mul(step, mean), hn::Add(hn::Sqrt(square), epsilon))), w);
  });
}

void sgd_update_here(int64_t n, const SgdStep& sgd, const float* gradient, float* w, float* velocity) {
  const Vector rate = set(sgd.learning_rate);
  const Vector momentum = set(sgd.momentum);
  const Vector decay = set(sgd.weight_decay);
  const Vector scale = set(sgd.gradient_scale);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector weight = lanes.load(w);
    const Vector g = hn::MulAdd(decay, weight, hn::Mul(scale, lanes.load(gradient)));
    Vector step = g;
    if (velocity != nullptr) {
      const Vector speed = hn::MulAdd(momentum, lanes.load(velocity), g);
      lanes.store(speed, velocity);
      step = sgd.nesterov ? hn::MulAdd(momentum, speed, g) : speed;
    }
    lanes.store(hn::NegMulAdd(rate, step, weight), w);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {

HWY_EXPORT(relu_forward_here);
HWY_EXPORT(relu_backward_here);
HWY_EXPORT(relu6_forward_here);
HWY_EXPORT(relu6_backward_here);
HWY_EXPORT(leaky_relu_forward_here);
HWY_EXPORT(leaky_relu_backward_here);
HWY_EXPORT(elu_forward_here);
HWY_EXPORT(elu_backward_here);
HWY_EXPORT(tanh_forward_here);
HWY_EXPORT(tanh_backward_here);
HWY_EXPORT(sigmoid_forward_here);
HWY_EXPORT(sigmoid_backward_here);
HWY_EXPORT(softmax_forward_here);
HWY_EXPORT(softmax_backward_here);
HWY_EXPORT(drop_here);
HWY_EXPORT(scale_bytes_here);
HWY_EXPORT(add_here);
HWY_EXPORT(add_rows_here);
HWY_EXPORT(adam_update_here);
HWY_EXPORT(sgd_update_here);

void relu_forward(int64_t n, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(relu_forward_here)(n, x, y);
}

void relu_backward(int64_t n, const float* y, const float* dy, float* dx) {
  HWY_DYNAMIC_DISPATCH(relu_backward_here)(n, y, dy, dx);
}

void relu6_forward(int64_t n, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(relu6_forward_here)(n, x, y);
}

void relu6_backward(int64_t n, const float* y, const float* dy, float* dx) {
  HWY_DYNAMIC_DISPATCH(relu6_backward_here)(n, y, dy, dx);
}

void leaky_relu_forward(int64_t n, float slope, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(leaky_relu_forward_here)(n, slope, x, y);
}

void leaky_relu_backward(int64_t n, float slope, const float* y, const float* dy, float* dx) {
  HWY_DYNAMIC_DISPATCH(leaky_relu_backward_here)(n, slope, y, dy, dx);
}

void elu_forward(int64_t n, float alpha, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(elu_forward_here)(n, alpha, x, y);
}

void elu_backward(int64_t n, float alpha, const float* y, const float* dy, float* dx) {
  HWY_DYNAMIC_DISPATCH(elu_backward_here)(n, alpha, y, dy, dx);
}

void tanh_forward(int64_t n, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(tanh_forward_here)(n, x, y);
}

void tanh_backward(int64_t n, const float* y, const float* dy, float* dx) {
  HWY_DYNAMIC_DISPATCH(tanh_backward_here)(n, y, dy, dx);
}

void sigmoid_forward(int64_t n, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(sigmoid_forward_here)(n, x, y);
}

void sigmoid_backward(int64_t n, const float* y, const float* dy, float* dx) {
  HWY_DYNAMIC_DISPATCH(sigmoid_backward_here)(n, y, dy, dx);
}

void softmax_forward(int64_t n, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(softmax_forward_here)(n, x, y);
}

void softmax_backward(int64_t n, const float* y, const float* dy, float* dx) {
  HWY_DYNAMIC_DISPATCH(softmax_backward_here)(n, y, dy, dx);
}

void drop(int64_t n, const uint32_t* bits, uint32_t threshold, float scale, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(drop_here)(n, bits, threshold, scale, x, y);
}

void scale_bytes(int64_t n, const uint8_t* x, float scale, float* y) {
  HWY_DYNAMIC_DISPATCH(scale_bytes_here)(n, x, scale, y);
}

void add(int64_t n, const float* a, const float* b, float* y) {
  HWY_DYNAMIC_DISPATCH(add_here)(n, a, b, y);
}

void add_rows(int64_t rows, int64_t n, const float* x, float* sum) {
  HWY_DYNAMIC_DISPATCH(add_rows_here)(rows, n, x, sum);
}

void adam_update(int64_t n, const AdamStep& adam, const float* gradient, float* w, float* m, float* v) {
  HWY_DYNAMIC_DISPATCH(adam_update_here)(n, adam, gradient, w, m, v);
}

void sgd_update(int64_t n, const SgdStep& sgd, const float* gradient, float* w, float* velocity) {
  HWY_DYNAMIC_DISPATCH(sgd_update_here)(n, sgd, gradient, w, velocity);
}

}  // namespace nacre
#endif  // HWY_ONCE
