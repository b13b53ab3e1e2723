#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "layers/batch_norm_kernels.h"
#include "layers/tensorflow_match.h"
#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

constexpr int64_t kChannelsPerChunk = 64;
constexpr int64_t kChunkElements = 16 * 1024;  // of images that one thread takes: less is not worth a second

struct GlobalAvgPoolAttrs {
  bool keepdims = false;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("keepdims", keepdims, "whether height and width stay, as extents of 1");
  }
};

class GlobalAvgPool2D final : public ReferenceOperator<GlobalAvgPool2D> {
 public:
  GlobalAvgPool2D(const GlobalAvgPoolAttrs& attrs, const Shape& input)
      : positions_(input[1] * input[2]), channels_(input[3]) {
    info_.output = attrs.keepdims ? Shape{input[0], 1, 1, channels_} : Shape{input[0], channels_};
    info_.flops_per_row = input.elements_per_row();
  }

  void forward(const ForwardArgs<float>& args) const override {
    const int64_t images = args.output.shape[0];
    const int64_t size = positions_ * channels_;
    const int64_t together = std::max<int64_t>(1, kChunkElements / size);
    parallel_for(chunks_of(images, together), args.context.threads, [&](int64_t chunk, int /*worker*/) {
      const int64_t end = std::min(images, (chunk + 1) * together);
      for (int64_t n = chunk * together; n < end; ++n) {
        channel_means(positions_, channels_, args.inputs[0].data + n * size,
                      args.output.data + n * channels_);
      }
    });
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    for_chunks(args.output.shape[0], args.context.threads, [&](int64_t n, int64_t begin, int64_t end) {
      const T* x = args.inputs[0].data + n * positions_ * channels_;
      T* y = args.output.data + n * channels_;
      for (int64_t c = begin; c < end; ++c) y[c] = mean(x + c);
    });
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    if (args.grad_inputs[0].data == nullptr) return;
    for_chunks(args.output.shape[0], args.context.threads, [&](int64_t n, int64_t begin, int64_t end) {
      const T* dy = args.grad_output.data + n * channels_;
      T* dx = args.grad_inputs[0].data + n * positions_ * channels_;
      const T share = T{1} / static_cast<T>(positions_);
      for (int64_t p = 0; p < positions_; ++p, dx += channels_) {
        for (int64_t c = begin; c < end; ++c) dx[c] = dy[c] * share;
      }
    });
  }

 private:
  /// Of one channel.
  template <typename T>
  [[nodiscard]] T mean(const T* x) const {
    double sum = 0;
    for (int64_t p = 0; p < positions_; ++p) sum += static_cast<double>(x[p * channels_]);
    return static_cast<T>(sum / static_cast<double>(positions_));
  }

  /// body(image, first channel, end channel)
  template <typename Body>
  void for_chunks(int64_t images, int threads, const Body& body) const {
    const int64_t per_image = chunks_of(channels_, kChannelsPerChunk);
    parallel_for(images * per_image, threads, [&](int64_t chunk, int /*worker*/) {
      const int64_t begin = chunk % per_image * kChannelsPerChunk;
      body(chunk / per_image, begin, std::min(channels_, begin + kChannelsPerChunk));
    });
  }

  int64_t positions_;
  int64_t channels_;
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<GlobalAvgPoolAttrs>(*request.attributes[0]));
  NACRE_RETURN_IF_ERROR(check_image_input(request.inputs[0]));
  return std::unique_ptr<Operator>(std::make_unique<GlobalAvgPool2D>(attrs, request.inputs[0]));
}

Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& sink) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<GlobalAvgPoolAttrs>(layer.attributes));
  constexpr std::array<int64_t, 2> kHeightAndWidth{1, 2};
  NACRE_ASSIGN_OR_RETURN(const std::string axes, add_sizes(layer, sink, "axes", Shape{2}, kHeightAndWidth));
  return add_node(layer, sink, "Mean", "", {layer.inputs[0], axes}, {{"keep_dims", attrs.keepdims}});
}

Recognized from_tensorflow(const NodeView& node) {
  if (node.op() != "Mean" || node.inputs() != 2 || !node.is_activation(0)) {
    return std::optional<RecognizedLayer>();
  }
  const FoldedTensor* axes = node.constant(1);
  const Shape* input = node.input(0).shape();
  if (axes == nullptr || input == nullptr) return std::optional<RecognizedLayer>();
  std::vector<int64_t> over = axes->ints;
  for (int64_t& axis : over) axis = axis < 0 ? axis + input->rank() : axis;
  std::ranges::sort(over);
  if (input->rank() != 4 || over != std::vector<int64_t>{1, 2}) {
    return node_error(node, StatusCode::kUnsupported, "expected the mean over height and width of images");
  }
  RecognizedLayer layer = begin_layer(node, 0);
  NACRE_ASSIGN_OR_RETURN(layer.attributes["keepdims"], bool_attribute(node, "keep_dims", false));
  return std::optional(std::move(layer));
}

}  // namespace

OpDef global_avg_pool2d_op() {
  OpDef op;
  op.name = "GlobalAvgPool2D";
  op.summary = "The mean of each channel over the whole image.";
  op.formula =
      "[N, H, W, C] -> [N, C], or [N, 1, 1, C] with keepdims: y = sum over h, w of x[n, h, w, c] / (H * W). "
      "Gradient: dx = dy / (H * W).";
  op.attributes = document_attributes<GlobalAvgPoolAttrs>();
  op.create = create;
  op.normalize = normalize_attributes<GlobalAvgPoolAttrs>;
  op.to_tensorflow = to_tensorflow;
  op.from_tensorflow = from_tensorflow;
  return op;
}

}  // namespace nacre
