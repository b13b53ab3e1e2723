#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <vector>

#include "layers/conv_batch_norm.h"
#include "layers/depthwise_batch_norm.h"
#include "layers/past_caches.h"

namespace nacre {
namespace {

// Outputs of the depthwise convolution that one thread has at a time: they should stay in its second-level
// cache beside panels of the kernel.
constexpr int64_t kPieceFloats = 32 * 1024;
// Positions of a piece: fewer do not pay for reading the kernel, more do not pay less. Fewer also pay where
// the alternative is that each thread reads what the others have written.
constexpr int64_t kMostPositions = 384;
constexpr int64_t kLeastPositions = 18;

/// A depthwise convolution and the convolution of 1x1 behind it, each with its BatchNorm and perhaps an
/// activation, in inference: what lies between them never leaves the cache.
class SeparableConv final : public ReferenceOperator<SeparableConv> {
 public:
  SeparableConv(std::unique_ptr<DepthwiseBatchNorm> depth, const DepthwiseConv& depth_conv,
                std::unique_ptr<ConvBatchNorm> point, const ConvGeometry& geometry, Clip clip)
      : depth_(std::move(depth)), d_(depth_conv), point_(std::move(point)), g_(geometry), clip_(clip) {
    const OperatorInfo& first = depth_->info();
    const OperatorInfo& second = point_->info();
    info_.output = second.output;
    info_.variables = first.variables;
    for (VariableSpec spec : second.variables) {
      spec.node += kPointNode;
      info_.variables.push_back(std::move(spec));
    }
    info_.flops_per_row = first.flops_per_row + second.flops_per_row;
    point_offset_ = align_up(first.packed_bytes);
    info_.packed_bytes = point_offset_ + second.packed_bytes;
    // Where nothing is packed, what would be.
    work_offset_ = align_up(info_.packed_bytes);
    info_.shared_bytes =
        std::max({work_offset_ + point_->pack_scratch_bytes(), first.shared_bytes, second.shared_bytes});
    product_offset_ = align_up(static_cast<size_t>(between_size(piece_rows())) * sizeof(float));
    // Of the reference: one image between the two, and theirs.
    reference_offset_ = align_up(static_cast<size_t>(d_.g.output_size()) * sizeof(double));
    info_.per_thread_bytes =
        std::max(product_offset_ + gemm_workspace_bytes(piece_rows() * width(), g_.filters, g_.channels),
                 reference_offset_ + std::max(first.per_thread_bytes, second.per_thread_bytes));
  }

  void pack(std::span<const TensorView<const float>> variables, int threads,
            std::byte* packed) const override {
    depth_->pack(variables.first(depth_variables()), threads, packed);
    point_->pack(variables.subspan(depth_variables()), threads, packed + point_offset_);
  }

  void forward(const ForwardArgs<float>& args) const override {
    const std::byte* packed = args.packed;
    if (packed == nullptr) {
      std::byte* shared = args.workspace.shared;
      depth_->pack(args.variables.first(depth_variables()), args.context.threads, shared);
      point_->pack(args.variables.subspan(depth_variables()), args.context.threads, shared + work_offset_,
                   shared + point_offset_);
      packed = shared;
    }
    const int64_t rows = args.output.shape[0] * d_.g.window.y.out;
    const Pieces pieces = pieces_of(rows, args.context.threads);
    const int64_t blocks = chunks_of(g_.filters, pieces.filters);
    parallel_for(chunks_of(rows, pieces.rows) * blocks, args.context.threads, [&](int64_t piece, int worker) {
      const int64_t begin = piece / blocks * pieces.rows;
      const int64_t filter = piece % blocks * pieces.filters;
      compute(args, packed, begin, std::min(rows, begin + pieces.rows), filter,
              std::min(g_.filters, filter + pieces.filters), worker);
    });
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    auto* scratch = args.workspace.template of_thread<std::byte>(0);
    for (int64_t n = 0; n < args.output.shape[0]; ++n) {
      const TensorView<T> between{reinterpret_cast<T*>(scratch), d_.output(1)};
      ForwardArgs<T> part = args;
      part.workspace.per_thread = scratch + reference_offset_;
      part.context.threads = 1;
      const std::array image{
          TensorView<const T>{args.inputs[0].data + n * d_.input_size(), args.inputs[0].shape.with_batch(1)}};
      part.inputs = image;
      part.output = between;
      part.variables = args.variables.first(depth_variables());
      depth_->reference_forward(part);
      const std::array sums{TensorView<const T>{between.data, between.shape}};
      part.inputs = sums;
      part.output = {args.output.data + n * g_.positions() * g_.filters, args.output.shape.with_batch(1)};
      part.variables = args.variables.subspan(depth_variables());
      point_->reference_forward(part);
    }
  }

  /// Never called: there is no such operator in training.
  template <typename T>
  void reference_backward(const BackwardArgs<T>& /*args*/) const {}

  static constexpr int kPointNode = 3;  ///< of the chain

 private:
  /// How the work is cut: so many rows of outputs, of whatever images, and so many filters of them.
  struct Pieces {
    int64_t rows;
    int64_t filters;
  };

  [[nodiscard]] int64_t width() const { return d_.g.window.x.out; }
  [[nodiscard]] int64_t between_size(int64_t rows) const { return rows * width() * d_.g.channels; }
  [[nodiscard]] size_t depth_variables() const { return depth_->info().variables.size(); }
  [[nodiscard]] int64_t piece_rows() const {
    const int64_t positions = std::clamp(kPieceFloats / d_.g.channels, kLeastPositions, kMostPositions);
    return std::max<int64_t>(1, positions / width());
  }

  /// As many for each thread, of equal size; of few rows all, but a part of the filters: the depthwise
  /// outputs are computed by each thread, then.
  [[nodiscard]] Pieces pieces_of(int64_t rows, int threads) const {
    const Pieces whole{std::min(rows, piece_rows()), g_.filters};
    if (threads <= 1) return whole;
    const int64_t share = chunks_of(rows, chunks_of(chunks_of(rows, whole.rows), threads) * threads);
    if (share * width() >= kLeastPositions) return {share, g_.filters};
    const int64_t panels = chunks_of(g_.filters, kPackedColumns);
    return {whole.rows, chunks_of(panels, chunks_of(threads, chunks_of(rows, whole.rows))) * kPackedColumns};
  }

  /// Filters [filter, end_filter) of rows [begin, end).
  void compute(const ForwardArgs<float>& args, const std::byte* packed, int64_t begin, int64_t end,
               int64_t filter, int64_t end_filter, int worker) const {
    auto* scratch = args.workspace.of_thread<std::byte>(worker);
    auto* between = reinterpret_cast<float*>(scratch);
    const int64_t height = d_.g.window.y.out;
    const RowMemory memory{.far = is_far(args.inputs[0].size())};
    for (int64_t row = begin; row < end; ++row) {
      const float* image = args.inputs[0].data + row / height * d_.input_size();
      depth_->row(image, row % height, packed, between + between_size(row - begin), memory);
    }
    const std::byte* packed_point = packed + point_offset_;
    GemmArgs product;
    product.m = (end - begin) * width();
    product.n = end_filter - filter;
    product.k = g_.channels;
    product.a = between;
    product.lda = g_.channels;
    product.c = args.output.data + begin * width() * g_.filters + filter;
    product.ldc = g_.filters;
    product.bias = point_->packed_bias(packed_point) + filter;
    product.relu = clip_ != Clip::kNone;
    if (clip_ == Clip::kRelu6) product.at_most = 6.0F;
    sgemm_packed_b(product, ConvBatchNorm::packed_kernel(packed_point) + filter * product.k,
                   scratch + product_offset_);
  }

  std::unique_ptr<DepthwiseBatchNorm> depth_;
  DepthwiseConv d_;
  std::unique_ptr<ConvBatchNorm> point_;
  ConvGeometry g_;
  Clip clip_;  // of the second convolution
  // In what is packed: the second convolution's. In the shared workspace: what packing needs.
  size_t point_offset_;
  size_t work_offset_;
  // In a thread's workspace: the product's, and that of the convolutions' references.
  size_t product_offset_;
  size_t reference_offset_;
};

/// With what clips the sums of the first and of the second convolution.
Result<std::unique_ptr<Operator>> create_clipped(const OperatorRequest& request, Clip between, Clip clip) {
  const auto& attributes = request.attributes;
  NACRE_ASSIGN_OR_RETURN(const auto depth, parse_attributes<DepthwiseAttrs>(*attributes[0]));
  NACRE_ASSIGN_OR_RETURN(const auto depth_norm, parse_attributes<BatchNormAttrs>(*attributes[1]));
  NACRE_ASSIGN_OR_RETURN(const auto point, parse_attributes<ConvAttrs>(*attributes[3]));
  NACRE_ASSIGN_OR_RETURN(const auto point_norm, parse_attributes<BatchNormAttrs>(*attributes[4]));
  NACRE_ASSIGN_OR_RETURN(DepthwiseConv conv, make_depthwise_conv(depth, request.inputs[0]));
  const int64_t batch = request.inputs[0][0];
  NACRE_ASSIGN_OR_RETURN(const ConvGeometry geometry, make_conv_geometry(point, conv.output(batch)));
  // Training needs the batch's statistics of the sums.
  if (request.mode != Mode::kInference || conv.clip != Clip::kNone || conv.multiplier != 1 || geometry.relu ||
      !geometry.is_product()) {
    return std::unique_ptr<Operator>();
  }
  conv.clip = between;
  return std::unique_ptr<Operator>(std::make_unique<SeparableConv>(
      std::make_unique<DepthwiseBatchNorm>(depth, conv, depth_norm, batch), conv,
      std::make_unique<ConvBatchNorm>(point, geometry, point_norm, clip, batch), geometry, clip));
}

template <Clip between, Clip clip>
Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  return create_clipped(request, between, clip);
}

OpDef define(const std::string& first, const std::string& second,
             Result<std::unique_ptr<Operator>> (*create)(const OperatorRequest&)) {
  OpDef op = fused_batch_norm_op("Conv2D", second,
                                 "[N, H, W, C] -> [N, H', W', F]: DepthwiseConv2D and a Conv2D of 1x1, with "
                                 "each BatchNorm in their kernels and biases",
                                 create);
  const std::vector<std::string> depth{"DepthwiseConv2D", "BatchNorm", first};
  op.pattern.insert(op.pattern.begin(), depth.begin(), depth.end());
  op.name = "DepthwiseConv2D+BatchNorm+" + first + "+" + op.name;
  op.summary = "In inference, " + op.name + " without storing what lies between.";
  return op;
}

}  // namespace

OpDef separable_conv_relu_op() {
  return define("ReLU", "ReLU", create<Clip::kRelu, Clip::kRelu>);
}

OpDef separable_conv_relu6_op() {
  return define("ReLU6", "ReLU6", create<Clip::kRelu6, Clip::kRelu6>);
}

/// As in inverted residuals, whose second convolution has no activation.
OpDef separable_conv_linear_op() {
  return define("ReLU6", "", create<Clip::kRelu6, Clip::kNone>);
}

}  // namespace nacre
