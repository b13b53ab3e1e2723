#include "engine/vector_math.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/vector_math.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
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

void clip_above_here(int64_t n, float most, const float* x, float* y) {
  const Vector bound = set(most);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    const Vector v = lanes.load(x);
    lanes.store(hn::IfThenElse(hn::Gt(v, bound), bound, v), y);
  });
}

void relu_backward_here(int64_t n, const float* y, const float* dy, float* dx) {
  const Vector zero = set(0);
  for_each_vector(n, [&](const auto& lanes) HWY_ATTR {
    lanes.store(hn::IfThenElse(hn::Gt(lanes.load(y), zero), lanes.load(dy), zero), dx);
  });
}

void add_here(int64_t n, const float* a, const float* b, float* y) {
  for_each_vector(n,
                  [&](const auto& lanes) HWY_ATTR { lanes.store(hn::Add(lanes.load(a), lanes.load(b)), y); });
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
HWY_EXPORT(clip_above_here);
HWY_EXPORT(relu_backward_here);
HWY_EXPORT(add_here);
HWY_EXPORT(adam_update_here);
HWY_EXPORT(sgd_update_here);

void relu_forward(int64_t n, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(relu_forward_here)(n, x, y);
}

void clip_above(int64_t n, float most, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(clip_above_here)(n, most, x, y);
}

void relu_backward(int64_t n, const float* y, const float* dy, float* dx) {
  HWY_DYNAMIC_DISPATCH(relu_backward_here)(n, y, dy, dx);
}

void add(int64_t n, const float* a, const float* b, float* y) {
  HWY_DYNAMIC_DISPATCH(add_here)(n, a, b, y);
}

void adam_update(int64_t n, const AdamStep& adam, const float* gradient, float* w, float* m, float* v) {
  HWY_DYNAMIC_DISPATCH(adam_update_here)(n, adam, gradient, w, m, v);
}

void sgd_update(int64_t n, const SgdStep& sgd, const float* gradient, float* w, float* velocity) {
  HWY_DYNAMIC_DISPATCH(sgd_update_here)(n, sgd, gradient, w, velocity);
}

}  // namespace nacre
#endif  // HWY_ONCE
