#include <flatbuffers/flatbuffers.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "schemas/bundle_generated.h"
#include "schemas/checkpoint_generated.h"
#include "serialize/bundle_file.h"
#include "serialize/checkpoint_file.h"
#include "serialize/container.h"
#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

/// A copy, aligned as FlatBuffers want it.
FileBytes copy_of(std::span<const std::byte> bytes) {
  const auto memory = std::make_shared<BasicTensor<std::byte>>(Shape{static_cast<int64_t>(bytes.size())});
  std::memcpy(memory->data(), bytes.data(), bytes.size());
  return {{memory->data(), bytes.size()}, memory};
}

/// Bundles and checkpoints as an attacker writes them, in the hands of the commands: one line, the right exit
/// code.
class HostileBundleFileTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    ASSERT_EQ(train("good", {"--steps", "1"}).code, 0);
    ASSERT_EQ(nacre({"export", "good", "--out", "good.nacre"}).code, 0);
  }
  [[nodiscard]] Bundle read_good(const std::string& name) const {
    auto bundle = read_bundle(path(name));
    EXPECT_TRUE(bundle.ok()) << bundle.status().message();
    return std::move(bundle).value();
  }
};

TEST_F(HostileBundleFileTest, AttributesThatCannotBeAreACorruptFile) {
  write("every.json", R"({"name": "every", "input": {"height": 8, "width": 8, "channels": 1}, "layers": [
      {"op": "ZeroPad2D"}, {"op": "Conv2D", "filters": 4, "kernel_size": 3, "padding": "same"},
      {"op": "DepthwiseConv2D", "kernel_size": 3}, {"op": "MaxPool2D", "pool_size": 2}, {"op": "AvgPool2D"},
      {"op": "Flatten"}, {"op": "Dense", "units": "classes"}]})");
  ASSERT_EQ(nacre({"train", "--model", "every.json", "--data", "idx", "--out", "every", "--steps", "1"}).code,
            0);
  ASSERT_EQ(nacre({"export", "every", "--out", "every.nacre"}).code, 0);
  struct Case {
    std::string op;
    std::string attribute;
    std::vector<int64_t> values;
    int code = 4;
  };
  constexpr int64_t kHuge = int64_t{1} << 62;
  const std::vector<Case> cases{{"Conv2D", "strides", {0, kHuge}},
                                {"Conv2D", "kernel_size", {0, -3, int64_t{1} << 40}},
                                {"Conv2D", "filters", {0, kHuge}},
                                {"Conv2D", "dilation_rate", {0, -1, int64_t{1} << 40}},
                                {"Conv2D", "groups", {0, 3, int64_t{1} << 40}},
                                {"DepthwiseConv2D", "depth_multiplier", {0, -1, int64_t{1} << 40}},
                                {"DepthwiseConv2D", "strides", {0, kHuge}},
                                {"MaxPool2D", "pool_size", {0, -2, 1000, int64_t{1} << 40}},
                                {"MaxPool2D", "strides", {-1, kHuge}},
                                {"AvgPool2D", "pool_size", {0, int64_t{1} << 40}},
                                {"ZeroPad2D", "padding", {-1, int64_t{1} << 40, kHuge}},
                                // Each side is allowed, the picture too large.
                                {"ZeroPad2D", "padding", {int64_t{1} << 20}, 7}};
  for (const Case& hostile : cases) {
    for (const int64_t value : hostile.values) {
      SCOPED_TRACE(hostile.op + " " + hostile.attribute + " " + std::to_string(value));
      Bundle bundle = read_good("every.nacre");
      std::vector<Node> nodes = bundle.graph.nodes();
      const auto node = std::ranges::find(nodes, hostile.op, &Node::op);
      ASSERT_NE(node, nodes.end());
      node->attributes[hostile.attribute] = value;
      auto graph = Graph::make(std::move(nodes));
      ASSERT_TRUE(graph.ok());
      bundle.graph = std::move(graph).value();
      BundleWriteOptions writing;
      writing.overwrite = true;
      ASSERT_TRUE(write_bundle(path("bad.nacre"), bundle, writing).ok());
      for (const char* command : {"verify", "inspect"}) {
        expect_one_line(nacre({command, "bad.nacre"}), hostile.code, "bad.nacre: ");
      }
    }
  }
}

TEST_F(HostileBundleFileTest, ACycleIsACorruptFile) {
  const auto file = open_file(path("good.nacre"), /*use_mmap=*/false);
  ASSERT_TRUE(file.ok());
  const auto container = parse_container(kBundleFormat, file->bytes, LoadDepth::kVerify);
  ASSERT_TRUE(container.ok());
  FileBytes metadata = copy_of(container->metadata);
  // The first node reads the second, and that the first.
  const auto* inputs = fb::GetBundle(metadata.bytes.data())->nodes()->Get(0)->inputs();
  const_cast<flatbuffers::Vector<int32_t>*>(inputs)->Mutate(0, 1);
  const std::vector<std::span<const std::byte>> blobs{container->blobs};
  ASSERT_TRUE(write_container(path("cycle.nacre"), kBundleFormat, metadata.bytes, blobs, /*overwrite=*/false,
                              real_file_system())
                  .ok());
  write("picture.txt", "not looked at");
  for (const std::vector<std::string>& command : {std::vector<std::string>{"verify", "cycle.nacre"},
                                                  {"inspect", "cycle.nacre"},
                                                  {"eval", "cycle.nacre", "--data", "idx"},
                                                  {"predict", "cycle.nacre", "picture.txt"}}) {
    expect_one_line(nacre(command), 4, "cycle.nacre: ");
  }
}

TEST_F(HostileBundleFileTest, SharedTextsAreNotUnfolded) {
  // 100,000 labels of a megabyte: 100 GB out of a file of 1.4 MB.
  flatbuffers::FlatBufferBuilder builder;
  const auto text = builder.CreateString(std::string(1000000, 'x'));
  const auto labels =
      builder.CreateVector(std::vector<flatbuffers::Offset<flatbuffers::String>>(100000, text));
  const auto contract = fb::CreateInputContract(builder, 1, 1, 1, 0, 0, 0, 1.0F, labels);
  const auto tensors = builder.CreateVector(std::vector<flatbuffers::Offset<fb::Tensor>>{});
  const auto empty = builder.CreateString("");
  fb::FinishCheckpointBuffer(
      builder, fb::CreateCheckpoint(builder, tensors, contract, 0, 0, 0, 0, empty, 0, 0, empty, empty));
  const std::span metadata(reinterpret_cast<const std::byte*>(builder.GetBufferPointer()), builder.GetSize());
  ASSERT_TRUE(write_container(path("bomb.ckpt"), kCheckpointFormat, metadata, {}, /*overwrite=*/false,
                              real_file_system())
                  .ok());
  for (const char* command : {"verify", "inspect"}) {
    expect_one_line(nacre({command, "bomb.ckpt"}), 7,
                    "bomb.ckpt: the metadata unfolds to more than its own size");
  }
}

TEST_F(HostileBundleFileTest, WeightsThatAreNotFiniteAreRefusedUnlessAllowed) {
  Bundle bundle = read_good("good.nacre");
  bundle.variables = bundle.variables.clone();
  // Of a kernel it might meet nothing but zeros, and would not be read.
  bundle.variables.find("out/bias")->data()[0] = std::numeric_limits<float>::quiet_NaN();
  BundleWriteOptions writing;
  writing.allow_nonfinite = true;
  ASSERT_TRUE(write_bundle(path("nan.nacre"), bundle, writing).ok());
  write("picture.txt", "not looked at");
  for (const std::vector<std::string>& command : {std::vector<std::string>{"verify", "nan.nacre"},
                                                  {"eval", "nan.nacre", "--data", "idx"},
                                                  {"predict", "nan.nacre", "picture.txt"}}) {
    expect_one_line(nacre(command), 8, "nan.nacre: ");
  }
  const Outcome start = train("run", {"--init-from", "nan.nacre"});
  expect_one_line(start, 8, "nan.nacre: ", /*notes=*/2);
  // It can be looked at.
  const Outcome inspected = nacre({"inspect", "nan.nacre", "--json"});
  EXPECT_EQ(inspected.code, 0) << inspected.err;
  EXPECT_EQ(nlohmann::json::parse(inspected.out).at("kind"), "bundle");
  // What it answers is not what was recorded when it was finite.
  expect_one_line(nacre({"verify", "--allow-nonfinite", "nan.nacre"}), 4, "nan.nacre: ");
  bundle.golden.clear();
  writing.overwrite = true;
  ASSERT_TRUE(write_bundle(path("nan.nacre"), bundle, writing).ok());
  EXPECT_EQ(nacre({"verify", "nan.nacre"}).code, 8);
  const Outcome allowed = nacre({"verify", "--allow-nonfinite", "nan.nacre", "--json"});
  EXPECT_EQ(allowed.code, 0) << allowed.err;
  EXPECT_EQ(nlohmann::json::parse(allowed.out).at("ok"), true);
}

TEST_F(HostileBundleFileTest, ACheckpointThatIsNotFiniteStartsNothing) {
  const std::string file = "good/checkpoints/step-00000001.ckpt";
  auto checkpoint = read_checkpoint(path(file));
  ASSERT_TRUE(checkpoint.ok());
  checkpoint->variables = checkpoint->variables.clone();
  checkpoint->variables.find("conv1/bias")->data()[0] = std::numeric_limits<float>::infinity();
  ASSERT_TRUE(write_checkpoint(path(file), *checkpoint, /*overwrite=*/true).ok());
  expect_one_line(train("run", {"--init-from", file}), 8, "conv1/bias holds a value that is NaN or infinite",
                  /*notes=*/2);
  EXPECT_EQ(train("good", {"--steps", "2", "--resume"}).code, 8);
  EXPECT_EQ(nacre({"export", "good", "--out", "nan.nacre"}).code, 8);
  EXPECT_FALSE(exists("nan.nacre"));
}

}  // namespace
}  // namespace nacre
