#pragma once

#include <cstdint>

namespace nacre {

/// Elementwise arithmetic of the training loop, with run-time dispatch as in engine/gemm.h. An element's bits
/// depend only on its own inputs and the instruction set, not on its place or on how an array is cut, so any
/// chunks may run on any threads. Arrays hold `n` floats and need no alignment; they may be the same where
/// noted, and not overlap otherwise.

/// y = x < 0 ? 0 : x, so NaN stays NaN. y may be x.
void relu_forward(int64_t n, const float* x, float* y);

/// dx = y > 0 ? dy : 0, where y is what relu_forward gave. dx may be dy.
void relu_backward(int64_t n, const float* y, const float* dy, float* dx);
/// The same of the reference in double.
inline void relu_backward(int64_t n, const double* y, const double* dy, double* dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] = y[i] > 0 ? dy[i] : 0;
}

/// The other activations' values and, from what those gave, their gradients dx = dy * derivative. NaN stays
/// NaN; y may be x, dx may be dy. Errors are bounded in tests/engine/vector_activations_test.cc.
/// y = x < 0 ? 0 : x > 6 ? 6 : x.
void relu6_forward(int64_t n, const float* x, float* y);
void relu6_backward(int64_t n, const float* y, const float* dy, float* dx);
/// y = x < 0 ? slope x : x; slope >= 0.
void leaky_relu_forward(int64_t n, float slope, const float* x, float* y);
void leaky_relu_backward(int64_t n, float slope, const float* y, const float* dy, float* dx);
/// y = x < 0 ? alpha (exp(x) - 1) : x; alpha >= 0.
void elu_forward(int64_t n, float alpha, const float* x, float* y);
void elu_backward(int64_t n, float alpha, const float* y, const float* dy, float* dx);
void tanh_forward(int64_t n, const float* x, float* y);
void tanh_backward(int64_t n, const float* y, const float* dy, float* dx);
/// y = 1 / (1 + exp(-x)).
void sigmoid_forward(int64_t n, const float* x, float* y);
void sigmoid_backward(int64_t n, const float* y, const float* dy, float* dx);

/// One row: y = exp(x - max(x)) / sum of those, and dx = y (dy - sum of y dy). A NaN makes all of them NaN.
/// The sums are taken in an order that depends on n alone. Here the elements are not independent of each
/// other.
void softmax_forward(int64_t n, const float* x, float* y);
void softmax_backward(int64_t n, const float* y, const float* dy, float* dx);

/// y = bits < threshold ? 0 : scale x, with bits [n] of the caller's; y may be x.
void drop(int64_t n, const uint32_t* bits, uint32_t threshold, float scale, const float* x, float* y);
/// The same of the reference in double.
inline void drop(int64_t n, const uint32_t* bits, uint32_t threshold, double scale, const double* x,
                 double* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = bits[i] < threshold ? 0.0 : x[i] * scale;
}

/// y = scale x of bytes, the bits of which do not depend on the instruction set.
void scale_bytes(int64_t n, const uint8_t* x, float scale, float* y);

/// y = a + b. y may be a or b.
void add(int64_t n, const float* a, const float* b, float* y);

/// sum[i] += x[i] + x[n + i] + ... of `rows` rows, in their order.
void add_rows(int64_t rows, int64_t n, const float* x, float* sum);

/// One step of Adam (Kingma, Ba: "Adam: a method for stochastic optimization", 2015) as TensorFlow computes
/// it: m += (1 - beta1) (g - m), v += (1 - beta2) (g^2 - v), w -= step m / (sqrt(v) + epsilon), with g =
/// gradient_scale gradient + weight_decay w. AdamW (Loshchilov, Hutter: "Decoupled weight decay
/// regularization", 2019) leaves g alone and takes decoupled_decay w from w instead.
struct AdamStep {
  float step;  ///< learning rate * sqrt(1 - beta2^t) / (1 - beta1^t), of the step t counted from 1
  float beta1 = 0.9F;
  float beta2 = 0.999F;
  float epsilon = 1e-8F;
  float weight_decay = 0;
  float decoupled_decay = 0;  ///< learning rate * weight decay
  float gradient_scale = 1;   ///< of clipping
};
void adam_update(int64_t n, const AdamStep& adam, const float* gradient, float* w, float* m, float* v);

/// One step of gradient descent, with g = gradient_scale gradient + weight_decay w. Without momentum
/// (velocity is null): w -= learning_rate g. With it: velocity = momentum velocity + g; w -= learning_rate
/// velocity, or with Nesterov's look-ahead (Sutskever et al.: "On the importance of initialization and
/// momentum in deep learning", 2013) w -= learning_rate (momentum velocity + g).
struct SgdStep {
  float learning_rate;
  float momentum = 0;
  float weight_decay = 0;
  bool nesterov = false;
  float gradient_scale = 1;  ///< of clipping
};
void sgd_update(int64_t n, const SgdStep& sgd, const float* gradient, float* w, float* velocity);

}  // namespace nacre
