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

/// y = a + b. y may be a or b.
void add(int64_t n, const float* a, const float* b, float* y);

/// y = x > most ? most : x, so NaN stays NaN. y may be x.
void clip_above(int64_t n, float most, const float* x, float* y);

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
