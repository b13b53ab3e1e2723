#include <cmath>

#include "layers/elementwise.h"

namespace nacre {
namespace {

struct EluAttrs {
  double alpha = 1.0;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("alpha", alpha, 0.0, 1000.0, "minus the limit of the result for x far below 0");
  }
};

struct Elu {
  using Attrs = EluAttrs;
  explicit Elu(const Attrs& attrs) : alpha(attrs.alpha) {}

  template <typename T>
  [[nodiscard]] T value(T x) const {
    return x < T{0} ? static_cast<T>(alpha) * std::expm1(x) : x;
  }
  template <typename T>
  [[nodiscard]] T derivative(T x, T y) const {
    return x > T{0} ? T{1} : y + static_cast<T>(alpha);
  }

  double alpha;
};

}  // namespace

OpDef elu_op() {
  return elementwise_op<Elu>(
      "ELU", "Bends negative elements towards -alpha.",
      "y = x where x >= 0, else alpha * (exp(x) - 1); NaN stays NaN (Clevert, "
      "Unterthiner, Hochreiter 2016). Gradient: dx = dy where x > 0, else dy * (y + alpha).");
}

}  // namespace nacre
