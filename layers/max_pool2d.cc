#include <cmath>
#include <memory>

#include "layers/output_rows.h"
#include "layers/plain_pool_kernels.h"
#include "layers/tensorflow_match.h"
#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

class MaxPool2D final : public ReferenceOperator<MaxPool2D> {
 public:
  MaxPool2D(const ChannelWindow& pool, int64_t batch) : pool_(pool) { info_.output = pool.output(batch); }

  void forward(const ForwardArgs<float>& args) const override {
    const int64_t row = pool_.window.x.out * pool_.channels;
    for_output_rows(pool_, args.output.shape[0], args.context.threads, [&](int64_t n, int64_t oy) {
      max_pool_row(pool_, oy, args.inputs[0].data + n * pool_.image_size(),
                   args.output.data + (n * pool_.window.y.out + oy) * row);
    });
  }

  void backward(const BackwardArgs<float>& args) const override {
    if (args.grad_inputs[0].data == nullptr) return;
    const int64_t row = info_.output.elements_per_row();
    parallel_for(args.output.shape[0], args.context.threads, [&](int64_t n, int /*worker*/) {
      max_pool_gradient(pool_, args.inputs[0].data + n * pool_.image_size(), args.output.data + n * row,
                        args.grad_output.data + n * row, args.grad_inputs[0].data + n * pool_.image_size());
    });
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    parallel_for(args.output.shape[0] * pool_.window.y.out, args.context.threads, [&](int64_t line, int) {
      const int64_t oy = line % pool_.window.y.out;
      const T* image = args.inputs[0].data + line / pool_.window.y.out * pool_.image_size();
      for (int64_t ox = 0; ox < pool_.window.x.out; ++ox) {
        T* largest = args.output.data + (line * pool_.window.x.out + ox) * pool_.channels;
        bool first = true;
        pool_.for_cells(oy, ox, [&](int64_t offset) {
          const T* x = image + offset;
          if (first) std::copy(x, x + pool_.channels, largest);
          first = false;
          // A NaN wins, and then stays: nothing compares greater.
          for (int64_t c = 0; c < pool_.channels; ++c) {
            largest[c] = ((x[c] > largest[c]) | (x[c] != x[c])) ? x[c] : largest[c];
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
      const T* image = args.inputs[0].data + n * pool_.image_size();
      T* grad_image = args.grad_inputs[0].data + n * pool_.image_size();
      std::fill(grad_image, grad_image + pool_.image_size(), T{0});
      const T* grad = args.grad_output.data + n * row;
      const T* largest = args.output.data + n * row;
      for (int64_t oy = 0; oy < pool_.window.y.out; ++oy) {
        for (int64_t ox = 0; ox < pool_.window.x.out;
             ++ox, grad += pool_.channels, largest += pool_.channels) {
          for (int64_t c = 0; c < pool_.channels; ++c) {
            grad_image[winner(image, oy, ox, c, largest[c])] += grad[c];
          }
        }
      }
    });
  }

 private:
  /// The offset in the image of the window's first cell that equals its largest.
  template <typename T>
  [[nodiscard]] int64_t winner(const T* image, int64_t oy, int64_t ox, int64_t c, T largest) const {
    int64_t found = -1;
    pool_.for_cells(oy, ox, [&](int64_t offset) {
      const T x = image[offset + c];
      if (found < 0 && (x == largest || (std::isnan(x) && std::isnan(largest)))) found = offset + c;
    });
    return found;
  }

  ChannelWindow pool_;
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const ChannelWindow pool,
                         make_pool_window(*request.attributes[0], request.inputs[0]));
  return std::unique_ptr<Operator>(std::make_unique<MaxPool2D>(pool, request.inputs[0][0]));
}

Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& sink) {
  return describe_pool(layer, sink, "MaxPool");
}

Recognized from_tensorflow(const NodeView& node) {
  return recognize_pool(node, "MaxPool");
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
  op.to_tensorflow = to_tensorflow;
  op.from_tensorflow = from_tensorflow;
  return op;
}

}  // namespace nacre
