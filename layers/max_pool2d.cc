#include <cmath>
#include <memory>

#include "layers/op_common.h"
#include "layers/window.h"

namespace nacre {
namespace {

class MaxPool2D final : public ReferenceOperator<MaxPool2D> {
 public:
  MaxPool2D(const Window2& window, const Shape& input) : window_(window), channels_(input[3]) {
    info_.output = Shape{input[0], window.y.out, window.x.out, channels_};
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    parallel_for(args.output.shape[0] * window_.y.out, args.context.threads, [&](int64_t line, int) {
      const int64_t oy = line % window_.y.out;
      const T* image = args.inputs[0].data + line / window_.y.out * image_size();
      for (int64_t ox = 0; ox < window_.x.out; ++ox) {
        T* largest = args.output.data + (line * window_.x.out + ox) * channels_;
        bool first = true;
        for_cells(oy, ox, [&](int64_t offset) {
          const T* x = image + offset;
          if (first) std::copy(x, x + channels_, largest);
          first = false;
          // A NaN wins, and then stays: nothing compares greater.
          for (int64_t c = 0; c < channels_; ++c) {
            largest[c] = (x[c] > largest[c]) | (x[c] != x[c]) ? x[c] : largest[c];
          }
        });
      }
    });
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    if (args.grad_inputs[0].data == nullptr) return;
    const int64_t row = info_.output.elements_per_row();
    parallel_for(args.output.shape[0], args.context.threads, [&](int64_t n, int) {
      const T* image = args.inputs[0].data + n * image_size();
      T* grad_image = args.grad_inputs[0].data + n * image_size();
      std::fill(grad_image, grad_image + image_size(), T{0});
      const T* grad = args.grad_output.data + n * row;
      const T* largest = args.output.data + n * row;
      for (int64_t oy = 0; oy < window_.y.out; ++oy) {
        for (int64_t ox = 0; ox < window_.x.out; ++ox, grad += channels_, largest += channels_) {
          for (int64_t c = 0; c < channels_; ++c) {
            grad_image[winner(image, oy, ox, c, largest[c])] += grad[c];
          }
        }
      }
    });
  }

 private:
  [[nodiscard]] int64_t image_size() const { return window_.y.in * window_.x.in * channels_; }

  /// The offset in the image of the window's first cell that equals its largest.
  template <typename T>
  [[nodiscard]] int64_t winner(const T* image, int64_t oy, int64_t ox, int64_t c, T largest) const {
    int64_t found = -1;
    for_cells(oy, ox, [&](int64_t offset) {
      const T x = image[offset + c];
      if (found < 0 && (x == largest || (std::isnan(x) && std::isnan(largest)))) found = offset + c;
    });
    return found;
  }

  /// body(offset into the image) for every cell of the window that is no padding, in row-major order.
  template <typename Body>
  void for_cells(int64_t oy, int64_t ox, const Body& body) const {
    for_each_cell(window_, oy, ox,
                  [&](int64_t iy, int64_t ix, int64_t) { body((iy * window_.x.in + ix) * channels_); });
  }

  Window2 window_;
  int64_t channels_;
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<PoolAttrs>(*request.attributes[0]));
  const Shape& input = request.inputs[0];
  NACRE_ASSIGN_OR_RETURN(const Window2 window,
                         make_window(input, attrs.pool_size, attrs.resolved_strides(), attrs.padding));
  return std::unique_ptr<Operator>(std::make_unique<MaxPool2D>(window, input));
}

}  // namespace

OpDef max_pool2d_op() {
  OpDef op;
  op.name = "MaxPool2D";
  op.summary = "The largest element of each window, channel by channel.";
  op.formula =
      "[N, H, W, C] -> [N, H', W', C]: y = max over the window's cells inside the image; NaN wins. H' = "
      "ceil(H / stride) with \"same\", floor((H - pool) / stride) + 1 with \"valid\". Gradient: to the first "
      "largest cell in row-major order.";
  op.attributes = document_attributes<PoolAttrs>();
  op.create = create;
  op.normalize = normalize_pool_attributes;
  return op;
}

}  // namespace nacre
