#include <memory>

#include "layers/eigen_maps.h"
#include "layers/output_rows.h"
#include "layers/plain_pool_kernels.h"
#include "layers/tensorflow_match.h"
#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

class AvgPool2D final : public ReferenceOperator<AvgPool2D> {
 public:
  AvgPool2D(const ChannelWindow& pool, int64_t batch) : pool_(pool) {
    info_.output = pool.output(batch);
    info_.flops_per_row = info_.output.elements_per_row() * pool.window.cells();
  }

  void forward(const ForwardArgs<float>& args) const override {
    const int64_t row = pool_.window.x.out * pool_.channels;
    for_output_rows(pool_, args.output.shape[0], args.context.threads, [&](int64_t n, int64_t oy) {
      avg_pool_row(pool_, oy, args.inputs[0].data + n * pool_.image_size(),
                   args.output.data + (n * pool_.window.y.out + oy) * row);
    });
  }

  void backward(const BackwardArgs<float>& args) const override {
    if (args.grad_inputs[0].data == nullptr) return;
    const int64_t row = info_.output.elements_per_row();
    parallel_for(args.output.shape[0], args.context.threads, [&](int64_t n, int /*worker*/) {
      avg_pool_gradient(pool_, args.grad_output.data + n * row,
                        args.grad_inputs[0].data + n * pool_.image_size());
    });
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    parallel_for(args.output.shape[0] * pool_.window.y.out, args.context.threads, [&](int64_t line, int) {
      const int64_t oy = line % pool_.window.y.out;
      const T* image = args.inputs[0].data + line / pool_.window.y.out * pool_.image_size();
      for (int64_t ox = 0; ox < pool_.window.x.out; ++ox) {
        RowMap<T> mean(args.output.data + (line * pool_.window.x.out + ox) * pool_.channels, pool_.channels);
        mean.setZero();
        pool_.for_cells(oy, ox,
                        [&](int64_t offset) { mean += ConstRowMap<T>(image + offset, pool_.channels); });
        mean /= static_cast<T>(pool_.cells_inside(oy, ox));
      }
    });
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    if (args.grad_inputs[0].data == nullptr) return;
    parallel_for(args.output.shape[0], args.context.threads, [&](int64_t n, int) {
      T* image = args.grad_inputs[0].data + n * pool_.image_size();
      std::fill(image, image + pool_.image_size(), T{0});
      const T* grad = args.grad_output.data + n * info_.output.elements_per_row();
      for (int64_t oy = 0; oy < pool_.window.y.out; ++oy) {
        for (int64_t ox = 0; ox < pool_.window.x.out; ++ox, grad += pool_.channels) {
          const T share = T{1} / static_cast<T>(pool_.cells_inside(oy, ox));
          pool_.for_cells(oy, ox, [&](int64_t offset) {
            RowMap<T>(image + offset, pool_.channels) += ConstRowMap<T>(grad, pool_.channels) * share;
          });
        }
      }
    });
  }

 private:
  ChannelWindow pool_;
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const ChannelWindow pool,
                         make_pool_window(*request.attributes[0], request.inputs[0]));
  return std::unique_ptr<Operator>(std::make_unique<AvgPool2D>(pool, request.inputs[0][0]));
}

Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& sink) {
  return describe_pool(layer, sink, "AvgPool");
}

Recognized from_tensorflow(const NodeView& node) {
  return recognize_pool(node, "AvgPool");
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
  op.to_tensorflow = to_tensorflow;
  op.from_tensorflow = from_tensorflow;
  return op;
}

}  // namespace nacre
