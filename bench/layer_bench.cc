// Layers other than convolutions: dense ones in GFLOP/s; pooling, softmax and the like, which only move
// memory, in GB/s of what they read and write.
#include <array>

#include "bench/layer_case.h"

namespace nacre {
namespace {

LayerCase dense(const std::string& name, int64_t inputs, int64_t units) {
  return {"dense " + name, "Dense", {{{"units", units}}}, Shape{1, inputs}};
}

LayerCase moving(const std::string& name, const std::string& op, AttrMap attributes, const Shape& input) {
  return {name, op, {std::move(attributes)}, input, false, false};
}

const bool kRegistered = [] {
  std::vector<LayerCase> cases{
      dense("4608>512", 4608, 512),
      dense("512>256", 512, 256),
      dense("256>10", 256, 10),
      dense("1280>1000", 1280, 1000),
      dense("512>10000", 512, 10000),
      moving("max pool 48x48x32 2", "MaxPool2D", {{"pool_size", int64_t{2}}}, Shape{1, 48, 48, 32}),
      moving("max pool 112x112x64 3 s2", "MaxPool2D",
             {{"pool_size", int64_t{3}}, {"strides", int64_t{2}}, {"padding", std::string("same")}},
             Shape{1, 112, 112, 64}),
      moving("average pool 8x8x256 2", "AvgPool2D", {{"pool_size", int64_t{2}}}, Shape{1, 8, 8, 256}),
      moving("global average pool 8x8x256", "GlobalAvgPool2D", {}, Shape{1, 8, 8, 256}),
      moving("batch norm 32x32x64", "BatchNorm", {}, Shape{1, 32, 32, 64}),
      moving("relu 32x32x64", "ReLU", {}, Shape{1, 32, 32, 64}),
  };
  for (const int64_t classes : {10, 100, 1000, 10000}) {
    cases.push_back(moving("softmax " + std::to_string(classes), "Softmax", {}, Shape{1, classes}));
  }
  constexpr std::array<int64_t, 3> kBatches{1, 32, 100};
  add_layer_cases(cases, kBatches);
  return true;
}();

}  // namespace
}  // namespace nacre
