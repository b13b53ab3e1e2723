#include <algorithm>
#include <array>
#include <memory>

#include "engine/image_backward.h"
#include "engine/parallel.h"
#include "engine/vector_math.h"
#include "layers/aligned_floats.h"
#include "layers/conv_kernels.h"
#include "layers/conv_reference.h"
#include "layers/pool_kernels.h"
#include "layers/quad_gradient.h"
#include "layers/sparse_gradient.h"
#include "layers/sparse_input.h"

namespace nacre {
namespace {

// Filters whose partial gradients one thread adds up at a time.
constexpr int64_t kCombineFilters = 4;

/// Conv2D and the MaxPool2D after it, as one operator: the un-pooled activations exist only stripe by stripe
/// in scratch memory. One byte for each pooled cell says which of its window won, or that relu clipped it:
/// all that backward needs.
class ConvPool final : public ReferenceOperator<ConvPool> {
 public:
  ConvPool(const ConvAttrs& attrs, const ConvGeometry& geometry, const Window2& pool, int64_t batch,
           Mode mode)
      : g_(geometry),
        pool_{{pool, geometry.filters}, geometry.relu},
        fast_(geometry, pool.y, batch, mode, &pool_),
        sparse_(geometry, pool_),
        use_sparse_(choose_kernel_gradient(geometry, pool.y, &pool_) == KernelGradientPath::kSparse),
        quads_(geometry, pool_),
        use_quads_(choose_quad_gradient(geometry, pool.y, pool_)),
        sparse_input_(geometry, pool_),
        use_sparse_input_(choose_sparse_input_gradient(geometry, pool.y, pool_)) {
    info_.output = Shape{batch, pool.y.out, pool.x.out, g_.filters};
    info_.variables = conv_variables(attrs, g_);
    info_.flops_per_row = conv_flops(g_);
    info_.shared_bytes = fast_.shared_bytes();
    info_.packed_bytes = fast_.packed_bytes();
    info_.per_thread_bytes =
        std::max(fast_.per_thread_bytes(), static_cast<size_t>(g_.positions() * g_.filters) * sizeof(double));
    if (mode == Mode::kInference) return;
    info_.saved_bytes = static_cast<size_t>(info_.output.num_elements());
    info_.forwards_rows = true;
    if (!use_sparse_) return;
    input_kernel_ = std::min(batch, kImageChunks) * partial_floats();
    const int64_t shared = input_kernel_ + (use_sparse_input_ ? sparse_input_.packed_floats() : 0);
    info_.shared_bytes = std::max(info_.shared_bytes, static_cast<size_t>(shared) * sizeof(float));
    info_.per_thread_bytes =
        std::max(info_.per_thread_bytes, use_quads_ ? quads_.scratch_bytes() : sparse_.scratch_bytes());
    if (use_sparse_input_) {
      info_.per_thread_bytes = std::max(info_.per_thread_bytes, sparse_input_.scratch_bytes());
    }
  }

  void pack(std::span<const TensorView<const float>> variables, int threads,
            std::byte* packed) const override {
    fast_.pack(variables[0].data, threads, reinterpret_cast<float*>(packed));
  }

  void forward(const ForwardArgs<float>& args) const override {
    if (fast_.pools_sums()) return fast_.forward_pooled(args, winners(args.saved, 0));
    fast_.forward(args, false,
                  [&](int64_t n, int64_t begin, int64_t end, int64_t y_begin, const float* sums) {
                    max_pool_rows(pool_, begin, end, y_begin, sums, args.output.data + n * pooled_size(),
                                  winners(args.saved, n));
                  });
  }

  void backward(const BackwardArgs<float>& args) const override {
    BackwardArgs<float> rest = args;
    const std::array<TensorView<float>, 2> nothing{};
    if (use_sparse_) {
      BackwardArgs<float> sums = args;
      if (!use_sparse_input_) sums.grad_inputs = std::span(nothing).first(1);
      const ImageStage stage = ImageStage::of_batch(*this, sums);
      backward_by_images({&stage, 1});
      if (args.grad_inputs[0].data == nullptr || use_sparse_input_) return;
      rest.grad_variables = std::span(nothing).first(args.grad_variables.size());
    }
    if (fast_.takes_pooled_gradient()) return fast_.backward_pooled(rest, winners(args.saved, 0));
    fast_.backward(
        rest, [&](int64_t n, int64_t begin, int64_t end, int64_t y_begin, int64_t y_end, float* scratch) {
          unpool_rows(pool_, begin, end, y_begin, y_end, args.grad_output.data + n * pooled_size(),
                      winners(args.saved, n), scratch);
          return scratch;
        });
  }

  /// The gradients of kernel and bias, and of the input when that is sparse too: on the paths that sum over
  /// what survived.
  [[nodiscard]] int64_t image_chunks(int64_t n, bool wants_input_gradient) const override {
    return use_sparse_ && (use_sparse_input_ || !wants_input_gradient) ? std::min(n, kImageChunks) : 0;
  }

  void begin_images(const BackwardArgs<float>& args) const override {
    if (args.grad_inputs[0].data != nullptr) {
      sparse_input_.pack(args.variables[0].data, args.context.threads,
                         args.workspace.shared_as<float>() + input_kernel_);
    }
  }

  void backward_image(const BackwardArgs<float>& args, const ImageBackward& of) const override {
    auto* const partials = args.workspace.shared_as<float>();
    float* const sums = partials + of.chunk * partial_floats();
    if (of.first) std::fill(sums, sums + partial_floats(), 0.0F);
    const float* image = args.inputs[0].data + of.n * g_.image_size();
    const uint8_t* winner = winners(args.saved, of.n);
    auto* scratch = args.workspace.of_thread<std::byte>(of.worker);
    if (use_quads_) {
      quads_.add(image, winner, of.grad_output, scratch, sums);
    } else {
      sparse_.add(image, winner, of.grad_output, scratch, sums, sums + sparse_.sums_floats());
    }
    // While its gradient is in the cache.
    if (of.grad_input != nullptr) {
      sparse_input_.compute(winner, of.grad_output, partials + input_kernel_, scratch, of.grad_input);
    }
  }

  void end_images(const BackwardArgs<float>& args) const override {
    auto* const partials = args.workspace.shared_as<float>();
    const int64_t chunks = std::min(args.output.shape[0], kImageChunks);
    const auto add_up = [&](int64_t begin, int64_t count) {
      for (int64_t chunk = 1; chunk < chunks; ++chunk) {
        add(count, partials + begin, partials + chunk * partial_floats() + begin, partials + begin);
      }
    };
    float* const grad_bias = args.grad_variables.size() > 1 ? args.grad_variables[1].data : nullptr;
    if (use_quads_) {
      // A small kernel: not worth two threads.
      add_up(0, partial_floats());
      return quads_.write(partials, args.grad_variables[0].data, grad_bias);
    }
    if (float* kernel = args.grad_variables[0].data; kernel != nullptr) {
      const int64_t size = sparse_.sums_floats() / g_.filters;
      parallel_for(chunks_of(g_.filters, kCombineFilters), args.context.threads, [&](int64_t chunk, int) {
        const int64_t begin = chunk * kCombineFilters;
        const int64_t end = std::min(g_.filters, begin + kCombineFilters);
        add_up(begin * size, (end - begin) * size);
        sparse_.write(partials, begin, end, kernel);
      });
    }
    if (grad_bias != nullptr) {
      const float* bias = partials + sparse_.sums_floats();
      add_up(sparse_.sums_floats(), g_.filters);
      std::copy(bias, bias + g_.filters, grad_bias);
    }
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
  /// Of one chunk of images: a multiple of 16.
  [[nodiscard]] int64_t partial_floats() const {
    return use_quads_ ? quads_.sums_floats() : sparse_.sums_floats() + align_floats(g_.filters);
  }

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
  SparseKernelGradient sparse_;
  bool use_sparse_;
  QuadKernelGradient quads_;
  bool use_quads_;  // in place of sparse_
  SparseInputGradient sparse_input_;
  bool use_sparse_input_;
  int64_t input_kernel_ = 0;  // shared, in floats: the kernel for sparse_input_, after the partial sums
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
