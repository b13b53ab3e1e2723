#include <memory>

#include "layers/eigen_maps.h"
#include "layers/op_common.h"
#include "layers/window.h"

namespace nacre {
namespace {

class AvgPool2D final : public ReferenceOperator<AvgPool2D> {
 public:
  AvgPool2D(const Window2& window, const Shape& input) : window_(window), channels_(input[3]) {
    info_.output = Shape{input[0], window.y.out, window.x.out, channels_};
    info_.flops_per_row = info_.output.elements_per_row() * window.cells();
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    parallel_for(args.output.shape[0] * window_.y.out, args.context.threads, [&](int64_t line, int) {
      const int64_t oy = line % window_.y.out;
      const T* image = args.inputs[0].data + line / window_.y.out * image_size();
      for (int64_t ox = 0; ox < window_.x.out; ++ox) {
        RowMap<T> mean(args.output.data + (line * window_.x.out + ox) * channels_, channels_);
        mean.setZero();
        for_cells(oy, ox, [&](int64_t offset) { mean += ConstRowMap<T>(image + offset, channels_); });
        mean /= cells_inside<T>(oy, ox);
      }
    });
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    if (args.grad_inputs[0].data == nullptr) return;
    parallel_for(args.output.shape[0], args.context.threads, [&](int64_t n, int) {
      T* image = args.grad_inputs[0].data + n * image_size();
      std::fill(image, image + image_size(), T{0});
      const T* grad = args.grad_output.data + n * info_.output.elements_per_row();
      for (int64_t oy = 0; oy < window_.y.out; ++oy) {
        for (int64_t ox = 0; ox < window_.x.out; ++ox, grad += channels_) {
          const T share = T{1} / cells_inside<T>(oy, ox);
          for_cells(oy, ox, [&](int64_t offset) {
            RowMap<T>(image + offset, channels_) += ConstRowMap<T>(grad, channels_) * share;
          });
        }
      }
    });
  }

 private:
  [[nodiscard]] int64_t image_size() const { return window_.y.in * window_.x.in * channels_; }

  template <typename T>
  [[nodiscard]] T cells_inside(int64_t oy, int64_t ox) const {
    const WindowAxis& y = window_.y;
    const WindowAxis& x = window_.x;
    return static_cast<T>((y.end_cell(oy) - y.first_cell(oy)) * (x.end_cell(ox) - x.first_cell(ox)));
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
  return std::unique_ptr<Operator>(std::make_unique<AvgPool2D>(window, input));
}

}  // namespace

OpDef avg_pool2d_op() {
  OpDef op;
  op.name = "AvgPool2D";
  op.summary = "The mean of each window, channel by channel.";
  op.formula =
      "[N, H, W, C] -> [N, H', W', C]: y = mean of the window's cells inside the image (padding does not "
      "count, as in tf.nn.avg_pool2d). H' = ceil(H / stride) with \"same\", floor((H - pool) / stride) + 1 "
      "with \"valid\".";
  op.attributes = document_attributes<PoolAttrs>();
  op.create = create;
  op.normalize = normalize_pool_attributes;
  return op;
}

}  // namespace nacre
