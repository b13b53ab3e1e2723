#include <algorithm>
#include <memory>

#include "engine/parallel.h"
#include "layers/conv_kernels.h"
#include "layers/conv_reference.h"
#include "layers/pool_kernels.h"

namespace nacre {
namespace {

/// Conv2D and the MaxPool2D after it, as one operator: the un-pooled activations exist only stripe by stripe
/// in scratch memory. One byte for each pooled cell says which of its window won, or that relu clipped it:
/// all that backward needs.
class ConvPool final : public ReferenceOperator<ConvPool> {
 public:
  ConvPool(const ConvAttrs& attrs, const ConvGeometry& geometry, const Window2& pool, int64_t batch,
           Mode mode)
      : g_(geometry), pool_{{pool, geometry.filters}, geometry.relu}, fast_(geometry, pool.y, batch, mode) {
    info_.output = Shape{batch, pool.y.out, pool.x.out, g_.filters};
    info_.variables = conv_variables(attrs, g_);
    info_.flops_per_row = conv_flops(g_);
    info_.shared_bytes = fast_.shared_bytes();
    info_.per_thread_bytes =
        std::max(fast_.per_thread_bytes(), static_cast<size_t>(g_.positions() * g_.filters) * sizeof(double));
    if (mode == Mode::kTraining) info_.saved_bytes = static_cast<size_t>(info_.output.num_elements());
  }

  void forward(const ForwardArgs<float>& args) const override {
    fast_.forward(args, false,
                  [&](int64_t n, int64_t begin, int64_t end, int64_t y_begin, const float* sums) {
                    max_pool_rows(pool_, begin, end, y_begin, sums, args.output.data + n * pooled_size(),
                                  winners(args.saved, n));
                  });
  }

  void backward(const BackwardArgs<float>& args) const override {
    fast_.backward(
        args, [&](int64_t n, int64_t begin, int64_t end, int64_t y_begin, int64_t y_end, float* scratch) {
          unpool_rows(pool_, begin, end, y_begin, y_end, args.grad_output.data + n * pooled_size(),
                      winners(args.saved, n), scratch);
          return scratch;
        });
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    const T* bias = args.variables.size() > 1 ? args.variables[1].data : nullptr;
    parallel_for(args.output.shape[0], args.context.threads, [&](int64_t n, int worker) {
      T* sums = args.workspace.template of_thread<T>(worker);
      conv_forward_reference(g_, args.inputs[0].data + n * g_.image_size(), args.variables[0].data, bias,
                             sums);
      max_pool_rows_reference(pool_, 0, pool_.window.y.out, 0, sums, args.output.data + n * pooled_size(),
                              winners(args.saved, n));
    });
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    conv_backward_reference(g_, args, [&](int64_t n, T* scratch) {
      unpool_rows_reference(pool_, 0, pool_.window.y.out, 0, g_.window.y.out,
                            args.grad_output.data + n * pooled_size(), winners(args.saved, n), scratch);
      return scratch;
    });
  }

 private:
  [[nodiscard]] int64_t pooled_size() const { return info_.output.elements_per_row(); }

  [[nodiscard]] uint8_t* winners(std::byte* saved, int64_t n) const {
    return saved == nullptr ? nullptr : reinterpret_cast<uint8_t*>(saved) + n * pooled_size();
  }
  [[nodiscard]] const uint8_t* winners(const std::byte* saved, int64_t n) const {
    return reinterpret_cast<const uint8_t*>(saved) + n * pooled_size();
  }

  ConvGeometry g_;
  FusedPool pool_;
  ConvKernels fast_;
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto conv, parse_attributes<ConvAttrs>(*request.attributes[0]));
  NACRE_ASSIGN_OR_RETURN(const auto pool, parse_attributes<PoolAttrs>(*request.attributes[1]));
  const int64_t batch = request.inputs[0][0];
  NACRE_ASSIGN_OR_RETURN(const ConvGeometry geometry, make_conv_geometry(conv, request.inputs[0]));
  const Shape sums{batch, geometry.window.y.out, geometry.window.x.out, geometry.filters};
  NACRE_ASSIGN_OR_RETURN(const Window2 window,
                         make_window(sums, pool.pool_size, pool.resolved_strides(), pool.padding));
  // Rows of overlapping windows would be computed twice, and a winner must fit into a byte.
  const bool overlap = window.y.stride < window.y.window || window.x.stride < window.x.window;
  if (overlap || window.cells() > FusedPool::kMaxCells) return std::unique_ptr<Operator>();
  return std::unique_ptr<Operator>(std::make_unique<ConvPool>(conv, geometry, window, batch, request.mode));
}

}  // namespace

OpDef conv_pool_op() {
  OpDef op;
  op.name = "Conv2D+MaxPool2D";
  op.summary = "Conv2D and the MaxPool2D that alone reads it, without storing what lies between.";
  op.formula = "[N, H, W, C] -> [N, H'', W'', F]: MaxPool2D(Conv2D(x)), for windows that do not overlap.";
  op.pattern = {"Conv2D", "MaxPool2D"};
  op.create = create;
  op.normalize = normalize_attributes<NoAttrs>;
  return op;
}

}  // namespace nacre
