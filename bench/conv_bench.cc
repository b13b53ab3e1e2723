// Convolutions, in GFLOP/s of the plain algorithm: the presets', with the pooling behind them where there is
// one, and common ones of ResNets and MobileNets; each also "plain", with its bias and nothing else, as other
// libraries time them (bench/peers/compare_convolutions.py reads the names).
#include <array>

#include "bench/layer_case.h"

namespace nacre {
namespace {

struct Conv {
  int64_t size;
  int64_t channels;
  int64_t filters;
  int64_t kernel;
  int64_t stride = 1;
  bool pooled = false;
};

constexpr std::array kConvs{
    // face96
    Conv{96, 3, 16, 3, 1, true},
    Conv{48, 16, 32, 3, 1, true},
    Conv{24, 32, 64, 3, 1, true},
    Conv{12, 64, 128, 5, 1, true},
    // fashion28
    Conv{28, 1, 16, 3, 1, true},
    Conv{14, 16, 32, 3, 1, true},
    Conv{7, 32, 64, 3},
    // residual32, vgg32
    Conv{32, 32, 32, 3},
    Conv{16, 64, 64, 3},
    Conv{8, 128, 128, 3},
    Conv{32, 16, 32, 3, 2},
    // ResNet50 at 224
    Conv{224, 3, 64, 7, 2},
    Conv{56, 64, 64, 3},
    Conv{56, 64, 256, 1},
    Conv{28, 128, 128, 3},
    Conv{28, 512, 128, 1},
    Conv{14, 256, 256, 3},
    Conv{56, 256, 512, 1, 2},
    // MobileNet
    Conv{48, 32, 64, 1},
    Conv{24, 128, 128, 1},
    Conv{12, 128, 128, 1},
};

struct Depthwise {
  int64_t size;
  int64_t channels;
  int64_t stride;
};

constexpr std::array kDepthwise{Depthwise{48, 32, 1}, Depthwise{48, 64, 2}, Depthwise{12, 256, 1},
                                Depthwise{112, 32, 1}};

LayerCase conv_case(const Conv& conv, bool plain) {
  const std::string step = conv.stride == 1 ? "" : " s" + std::to_string(conv.stride);
  const bool pooled = conv.pooled && !plain;
  LayerCase layer;
  layer.name = std::string(plain ? "plain " : "") + "conv " + std::to_string(conv.size) + "x" +
               std::to_string(conv.size) + " " + std::to_string(conv.channels) + ">" +
               std::to_string(conv.filters) + " k" + std::to_string(conv.kernel) + step +
               (pooled ? " pooled" : "");
  layer.op = pooled ? "Conv2D+MaxPool2D" : "Conv2D";
  layer.attributes.push_back({{"filters", conv.filters},
                              {"kernel_size", conv.kernel},
                              {"strides", conv.stride},
                              {"padding", std::string("same")},
                              {"activation", std::string(plain ? "linear" : "relu")}});
  if (pooled) layer.attributes.push_back({{"pool_size", int64_t{2}}});
  layer.input = Shape{1, conv.size, conv.size, conv.channels};
  layer.first = conv.channels < 4;
  layer.variables_alone = plain;
  return layer;
}

LayerCase depthwise_case(const Depthwise& conv, bool plain) {
  LayerCase layer;
  layer.name = std::string(plain ? "plain " : "") + "depthwise " + std::to_string(conv.size) + "x" +
               std::to_string(conv.size) + " " + std::to_string(conv.channels) + " k3 s" +
               std::to_string(conv.stride);
  layer.op = "DepthwiseConv2D";
  layer.attributes.push_back(
      {{"kernel_size", int64_t{3}}, {"strides", conv.stride}, {"padding", std::string("same")}});
  layer.input = Shape{1, conv.size, conv.size, conv.channels};
  layer.variables_alone = plain;
  return layer;
}

const bool kRegistered = [] {
  std::vector<LayerCase> cases;
  for (const bool plain : {false, true}) {
    for (const Conv& conv : kConvs) cases.push_back(conv_case(conv, plain));
    for (const Depthwise& conv : kDepthwise) cases.push_back(depthwise_case(conv, plain));
  }
  constexpr std::array<int64_t, 2> kBatches{1, 16};
  add_layer_cases(cases, kBatches);
  return true;
}();

}  // namespace
}  // namespace nacre
