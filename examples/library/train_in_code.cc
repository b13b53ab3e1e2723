// Builds and trains a small network without any file: train_in_code FOLDER writes stripes.ckpt, stripes.nacre
// and stripes.jpg there. The pictures are horizontal and vertical stripes.
#include <nacre/image/encode.h>
#include <nacre/layers/registry.h>
#include <nacre/runtime/golden.h>
#include <nacre/runtime/prediction_bundle.h>
#include <nacre/serialize/bundle_file.h>
#include <nacre/serialize/checkpoint_file.h>
#include <nacre/train/trainer.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr int64_t kSide = 16;  // pixels
constexpr int32_t kVertical = 1;

/// Number i of the pictures [kSide, kSide]: stripes of 2 to 4 pixels, horizontal for even i.
nacre::Image stripes(int64_t i) {
  nacre::Image image{.height = kSide, .width = kSide, .channels = 1, .pixels = {}};
  const int64_t thickness = 2 + i / 2 % 3;
  for (int64_t y = 0; y < kSide; ++y) {
    for (int64_t x = 0; x < kSide; ++x) {
      const int64_t across = i % 2 == kVertical ? x : y;
      const int64_t noise = (i * 7919 + y * 131 + x * 31) % 40;
      image.pixels.push_back(
          static_cast<uint8_t>((across + i / 6) / thickness % 2 == 0 ? 40 + noise : 200 + noise));
    }
  }
  return image;
}

nacre::Result<std::shared_ptr<const nacre::Dataset>> make_data(const nacre::InputContract& input,
                                                               int64_t count) {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> classes;
  for (int64_t i = 0; i < count; ++i) {
    const nacre::Image image = stripes(i);
    pixels.insert(pixels.end(), image.pixels.begin(), image.pixels.end());
    classes.push_back(static_cast<int32_t>(i % 2));
  }
  return nacre::Dataset::from_pixels(std::move(pixels), kSide, kSide, 1, std::move(classes), input.labels,
                                     input);
}

/// Convolution, pooling, dense: nodes name their inputs; the output is the node that no other reads.
nacre::Result<nacre::Graph> make_graph() {
  std::vector<nacre::Node> nodes;
  nodes.push_back({.name = "conv",
                   .op = "Conv2D",
                   .attributes = {{"filters", int64_t{8}},
                                  {"kernel_size", int64_t{3}},
                                  {"activation", std::string("relu")}},
                   .inputs = {std::string(nacre::kInputName)}});
  nodes.push_back({.name = "pool", .op = "MaxPool2D", .attributes = {}, .inputs = {"conv"}});
  nodes.push_back({.name = "flatten", .op = "Flatten", .attributes = {}, .inputs = {"pool"}});
  nodes.push_back(
      {.name = "out", .op = "Dense", .attributes = {{"units", int64_t{2}}}, .inputs = {"flatten"}});
  return nacre::Graph::make(std::move(nodes));
}

/// Told of every step.
class Printer : public nacre::TrainObserver {
 public:
  nacre::Status on_step(const nacre::StepReport& report) override {
    if (report.step % 10 == 1 || report.step == report.total_steps) {
      std::printf("step %2lld: loss %.4f\n", static_cast<long long>(report.step), report.loss);
    }
    return {};
  }
};

nacre::Status run(const std::string& folder) {
  const nacre::Registry registry = nacre::builtin_ops();
  nacre::Checkpoint checkpoint;
  nacre::InputContract& input = checkpoint.contract;
  input.height = kSide;
  input.width = kSide;
  input.channels = 1;
  input.labels = {"horizontal", "vertical"};

  NACRE_ASSIGN_OR_RETURN(const nacre::Graph graph, make_graph());
  NACRE_ASSIGN_OR_RETURN(const auto data, make_data(input, 240));
  NACRE_ASSIGN_OR_RETURN(const nacre::Plan plan,
                         nacre::Plan::make(graph, registry, nacre::Shape{kSide, kSide, 1}, {}));
  checkpoint.state.seed = 1;
  checkpoint.variables = plan.initial_variables(checkpoint.state.seed);

  nacre::TrainOptions options;
  options.batch_size = 24;
  options.steps = 40;
  options.optimizer.kind = nacre::OptimizerKind::kAdam;
  options.optimizer.learning_rate = 0.01;
  Printer printer;
  nacre::TrainObserver* const observers[] = {&printer};
  const auto never = [] { return false; };
  NACRE_RETURN_IF_ERROR(
      nacre::train(graph, registry, data, nullptr, options, checkpoint, observers, never).status());
  NACRE_RETURN_IF_ERROR(nacre::write_checkpoint(folder + "/stripes.ckpt", checkpoint, /*overwrite=*/true));

  NACRE_ASSIGN_OR_RETURN(
      nacre::Bundle bundle,
      nacre::make_prediction_bundle("stripes", graph, std::move(checkpoint.variables), input, registry));
  NACRE_RETURN_IF_ERROR(nacre::add_golden_vectors(bundle, registry));
  NACRE_RETURN_IF_ERROR(nacre::write_bundle(folder + "/stripes.nacre", bundle, {.overwrite = true}));

  // A picture that was not among those trained on.
  NACRE_ASSIGN_OR_RETURN(const auto jpeg, nacre::encode_jpeg(stripes(1001), /*quality=*/90));
  std::ofstream file(folder + "/stripes.jpg", std::ios::binary);
  file.write(reinterpret_cast<const char*>(jpeg.data()), static_cast<std::streamsize>(jpeg.size()));
  return file.good() ? nacre::Status()
                     : nacre::Status(nacre::StatusCode::kIo, folder + ": cannot write stripes.jpg");
}

}  // namespace

int main(int argc, char** argv) {
  const nacre::Status status = run(argc > 1 ? argv[1] : ".");
  if (!status.ok()) std::fprintf(stderr, "train_in_code: %s\n", status.message().c_str());
  return static_cast<int>(status.code());
}
