#include "layers/depthwise_conv.h"

#include <fmt/format.h>

#include <array>

#include "engine/parallel.h"
#include "layers/output_rows.h"
#include "layers/past_caches.h"

namespace nacre {

size_t DepthwiseConv::scratch_bytes() const {
  return multiplier == 1 ? 0 : static_cast<size_t>(g.image_size()) * sizeof(float);
}

const float* DepthwiseConv::spread(const float* image, float* scratch) const {
  if (multiplier == 1) return image;
  float* to = scratch;
  for (int64_t i = 0; i < input_size(); ++i) to = std::fill_n(to, multiplier, image[i]);
  return scratch;
}

Result<DepthwiseConv> make_depthwise_conv(const DepthwiseAttrs& attrs, const Shape& input) {
  if (attrs.strides.height != attrs.strides.width) {
    return Status(StatusCode::kBadData,
                  fmt::format("attribute \"strides\" is [{}, {}], expected the same step both ways",
                              attrs.strides.height, attrs.strides.width));
  }
  DepthwiseConv conv;
  NACRE_ASSIGN_OR_RETURN(conv.g.window, make_window(input, attrs.kernel_size, attrs.strides, attrs.padding));
  const Window2& window = conv.g.window;
  conv.multiplier = attrs.depth_multiplier;
  conv.clip = attrs.activation == Activation::kRelu ? Clip::kRelu : Clip::kNone;
  // Bounds every product of sizes that the kernels form.
  const std::array work{window.y.out,    window.x.out, window.y.window,
                        window.x.window, input[3],     attrs.depth_multiplier};
  NACRE_RETURN_IF_ERROR(Shape::make(work).status().at("multiplications of one image"));
  const std::array read{window.y.in, window.x.in, input[3], attrs.depth_multiplier};
  NACRE_RETURN_IF_ERROR(Shape::make(read).status().at("pixels of one image"));
  conv.g.channels = input[3] * attrs.depth_multiplier;
  const std::array output{input[0], window.y.out, window.x.out, conv.g.channels};
  NACRE_RETURN_IF_ERROR(Shape::make(output).status().at("output"));
  return conv;
}

std::vector<VariableSpec> depthwise_variables(const DepthwiseAttrs& attrs, const DepthwiseConv& conv) {
  const Window2& window = conv.g.window;
  const Shape kernel{window.y.window, window.x.window, conv.input_channels(), conv.multiplier};
  // Keras's fans for a kernel of this shape.
  return weight_variables(attrs, kernel, conv.g.channels, window.cells() * conv.input_channels(),
                          window.cells() * conv.multiplier);
}

int64_t depthwise_flops(const DepthwiseConv& conv) {
  return 2 * conv.g.window.cells() * conv.g.output_size();
}

void depthwise_forward(const DepthwiseConv& conv, const ForwardArgs<float>& args, const float* kernel,
                       const float* bias) {
  const DepthwiseGeometry& g = conv.g;
  const RowMemory memory{is_far(args.inputs[0].size()), is_past_caches(args.output.size())};
  const auto row = [&](int64_t n, const float* image, int64_t oy) {
    float* out = args.output.data + n * g.output_size() + oy * g.window.x.out * g.channels;
    depthwise_row(g, oy, image, kernel, bias, conv.clip, out, memory);
  };
  const int64_t batch = args.output.shape[0];
  if (conv.multiplier == 1) {
    for_output_rows(g, batch, args.context.threads,
                    [&](int64_t n, int64_t oy) { row(n, args.inputs[0].data + n * conv.input_size(), oy); });
    return;
  }
  // Rows of one image share the copy with spread channels.
  parallel_for(batch, args.context.threads, [&](int64_t n, int worker) {
    const float* image =
        conv.spread(args.inputs[0].data + n * conv.input_size(), args.workspace.of_thread<float>(worker));
    for (int64_t oy = 0; oy < g.window.y.out; ++oy) row(n, image, oy);
  });
}

}  // namespace nacre
