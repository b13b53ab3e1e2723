#include "layers/elementwise.h"

namespace nacre {
namespace {

struct Relu6 {
  using Attrs = NoAttrs;
  explicit Relu6(const Attrs& /*attrs*/) {}

  template <typename T>
  [[nodiscard]] T value(T x) const {
    const T above = x < T{0} ? T{0} : x;
    return above > T{6} ? T{6} : above;
  }
  template <typename T>
  [[nodiscard]] T derivative(T x, T /*y*/) const {
    return ((x > T{0}) & (x < T{6})) ? T{1} : T{0};
  }
};

}  // namespace

OpDef relu6_op() {
  return elementwise_op<Relu6>(
      "ReLU6", "Clips every element to between 0 and 6.",
      "y = min(max(x, 0), 6); NaN stays NaN (Krizhevsky 2010). Gradient: dx = dy where "
      "0 < x < 6, else 0.",
      describe_as<"Relu6">);
}

}  // namespace nacre
