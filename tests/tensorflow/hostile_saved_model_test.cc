// SavedModels that are damaged, hostile or foreign: one line with the node, the right code, and nothing run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "layers/registry.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "serialize/tensorflow/saved_model_writer.h"
#include "tests/tensorflow/saved_model_files.h"
#include "tests/tensorflow/small_graph.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;
using tensorflow::MetaGraphDef;
using tensorflow::NodeDef;
using ::testing::HasSubstr;

class HostileSavedModel : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = test_folder() + "/model";
    const Bundle bundle = preset_bundle("fashion28", registry_);
    const auto written = write_saved_model(folder_, bundle, registry_, {});
    ASSERT_TRUE(written.ok()) << written.status().message();
    // As if another program had written it: else every change is met by its digest.
    fs::remove_all(folder_ + "/assets.extra");
  }

  [[nodiscard]] Status import(const std::string& signature = "") const {
    ImportOptions options;
    options.signature = signature;
    return import_saved_model(folder_, options, registry_).status();
  }

  void expect(StatusCode code, const std::string& reason, const std::string& signature = "") const {
    const double begun = thread_seconds();
    const Status status = import(signature);
    EXPECT_LT(thread_seconds() - begun, kMaxImportSeconds) << reason;
    EXPECT_EQ(status.code(), code) << status.message();
    EXPECT_THAT(status.message(), HasSubstr(reason));
    EXPECT_THAT(status.message(), HasSubstr(folder_));
    EXPECT_EQ(status.message().find('\n'), std::string::npos);
  }

  void change(const std::function<void(MetaGraphDef&)>& by) const { change_saved_model(folder_, by); }

  const Registry registry_ = builtin_ops();
  std::string folder_;
};

/// A call of `function` put in place of the node with the first Relu.
void call_instead(MetaGraphDef& meta, const std::string& function) {
  NodeDef& relu = node_with_op(meta, "Relu");
  relu.set_op("StatefulPartitionedCall");
  relu.clear_attr();
  (*relu.mutable_attr())["f"].mutable_func()->set_name(function);
}

/// x -> Relu(x).
void add_leaf(MetaGraphDef& meta, const std::string& name) {
  add_function(meta, name, "");
  NodeDef& node =
      *meta.mutable_graph_def()->mutable_library()->mutable_function()->rbegin()->mutable_node_def(0);
  node.set_op("Relu");
  node.clear_attr();
}

TEST_F(HostileSavedModel, TheUnchangedOneIsRead) {
  const Status status = import();
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST_F(HostileSavedModel, OpsThatReachOutsideAreNamedAndNeverRun) {
  std::string node;
  change([&](MetaGraphDef& meta) { node = node_with_op(meta, "Relu").name(); });
  for (const std::string op : {"PyFunc", "ReadFile", "WriteFile", "CustomOp"}) {
    change([&](MetaGraphDef& meta) { node_of(meta, node).set_op(op); });
    expect(StatusCode::kUnsupported, "node \"" + node + "\" (" + op + ")");
  }
}

TEST_F(HostileSavedModel, AFileReadInPlaceOfTheImageIsNamed) {
  change([](MetaGraphDef& meta) { node_with_op(meta, "GatherV2").set_op("ReadFile"); });
  expect(StatusCode::kUnsupported, "(ReadFile)");
}

TEST_F(HostileSavedModel, AFunctionThatCallsItselfIsRefused) {
  change([](MetaGraphDef& meta) {
    add_function(meta, "one", "two");
    add_function(meta, "two", "one");
    call_instead(meta, "one");
  });
  expect(StatusCode::kCorrupt, "calls itself");
}

TEST_F(HostileSavedModel, CallsNestedTooDeeplyAreRefused) {
  change([](MetaGraphDef& meta) {
    for (int i = 0; i < 5000; ++i) add_function(meta, "f" + std::to_string(i), "f" + std::to_string(i + 1));
    add_leaf(meta, "f5000");
    call_instead(meta, "f0");
  });
  expect(StatusCode::kCorrupt, "nested more than");
}

TEST_F(HostileSavedModel, CallsThatMultiplyAreRefused) {
  change([](MetaGraphDef& meta) {
    for (int i = 0; i < 40; ++i) add_function(meta, "f" + std::to_string(i), "f" + std::to_string(i + 1), 2);
    add_leaf(meta, "f40");
    call_instead(meta, "f0");
  });
  expect(StatusCode::kCorrupt, "more than");
}

TEST_F(HostileSavedModel, ACallOfAFunctionIsInlined) {
  change([](MetaGraphDef& meta) {
    add_function(meta, "outer", "inner");
    add_leaf(meta, "inner");
    call_instead(meta, "outer");
  });
  const Status status = import();
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST_F(HostileSavedModel, CyclesOfNodesAreRefused) {
  change([](MetaGraphDef& meta) {
    NodeDef& relu = node_with_op(meta, "Relu");
    const std::string behind = relu.name();
    relu.set_input(0, behind);
  });
  expect(StatusCode::kCorrupt, "cycle");
}

TEST_F(HostileSavedModel, CyclesOfIdentitiesAreRefused) {
  change([](MetaGraphDef& meta) {
    NodeDef& relu = node_with_op(meta, "Relu");
    relu.set_op("Identity");
    relu.set_input(0, relu.name());
  });
  expect(StatusCode::kCorrupt, "steps");
}

TEST_F(HostileSavedModel, InputsThatAreNoNodesAreRefused) {
  for (const std::string input : {"nobody", "images:99999999999", "images:-1", "images:x", ""}) {
    change([&](MetaGraphDef& meta) { node_with_op(meta, "Relu").set_input(0, input); });
    expect(StatusCode::kCorrupt, "input \"" + input + "\"");
  }
}

TEST_F(HostileSavedModel, TwoNodesOfOneNameAreRefused) {
  change([](MetaGraphDef& meta) { *meta.mutable_graph_def()->add_node() = node_with_op(meta, "Relu"); });
  expect(StatusCode::kCorrupt, "two nodes are called");
}

TEST_F(HostileSavedModel, AConstantWithoutAValueIsRefused) {
  change([](MetaGraphDef& meta) { node_of(meta, "flatten/shape").mutable_attr()->erase("value"); });
  expect(StatusCode::kCorrupt, "has no value");
}

TEST_F(HostileSavedModel, AConstantWithLessElementsThanItsShapeIsRefused) {
  change([](MetaGraphDef& meta) {
    auto& tensor = *node_of(meta, "flatten/shape").mutable_attr()->at("value").mutable_tensor();
    tensor.mutable_tensor_shape()->mutable_dim(0)->set_size(int64_t{1} << 40);
  });
  const Status status = import();
  EXPECT_TRUE(status.code() == StatusCode::kLimit || status.code() == StatusCode::kCorrupt)
      << status.message();
  change([](MetaGraphDef& meta) {
    auto& tensor = *node_of(meta, "flatten/shape").mutable_attr()->at("value").mutable_tensor();
    tensor.mutable_tensor_shape()->mutable_dim(0)->set_size(3);
    tensor.set_tensor_content("12345678");
  });
  expect(StatusCode::kCorrupt, "12 bytes");
}

TEST_F(HostileSavedModel, NegativeShapesAreRefused) {
  change([](MetaGraphDef& meta) {
    auto& tensor = *node_of(meta, "flatten/shape").mutable_attr()->at("value").mutable_tensor();
    tensor.mutable_tensor_shape()->mutable_dim(0)->set_size(-2);
  });
  expect(StatusCode::kCorrupt, "shape");
}

TEST_F(HostileSavedModel, AShapeThatImagesDoNotHaveIsRefused) {
  change([](MetaGraphDef& meta) {
    auto& tensor = *node_of(meta, "flatten/shape").mutable_attr()->at("value").mutable_tensor();
    tensor.clear_tensor_content();
    tensor.clear_int_val();
    tensor.add_int_val(-1);
    tensor.add_int_val(17);
  });
  expect(StatusCode::kCorrupt, "elements of each image");
}

TEST_F(HostileSavedModel, BadAttributesAreRefused) {
  change([](MetaGraphDef& meta) {
    (*node_with_op(meta, "Conv2D").mutable_attr())["strides"].mutable_list()->set_i(1, 0);
  });
  expect(StatusCode::kCorrupt, "strides");
  change([](MetaGraphDef& meta) { (*node_with_op(meta, "Conv2D").mutable_attr())["strides"].set_s("2"); });
  expect(StatusCode::kCorrupt, "strides");
  change([](MetaGraphDef& meta) {
    auto& list = *(*node_with_op(meta, "Conv2D").mutable_attr())["strides"].mutable_list();
    for (const int64_t step : {1, 1, 1, 1}) list.add_i(step);
    (*node_with_op(meta, "Conv2D").mutable_attr())["padding"].set_s("SOME");
  });
  expect(StatusCode::kCorrupt, "padding");
}

TEST_F(HostileSavedModel, OtherLayoutsAreNamed) {
  change([](MetaGraphDef& meta) {
    (*node_with_op(meta, "Conv2D").mutable_attr())["data_format"].set_s("NCHW");
  });
  expect(StatusCode::kUnsupported, "NCHW");
}

TEST_F(HostileSavedModel, ALaterReaderThatIsAskedForIsNamed) {
  change([](MetaGraphDef& meta) { meta.mutable_graph_def()->mutable_versions()->set_min_consumer(1 << 30); });
  expect(StatusCode::kUnsupported, "version");
}

TEST_F(HostileSavedModel, AssetsOutsideTheFolderAreRefused) {
  for (const std::string name : {"../x", "/etc/passwd", "..", "a/b", ""}) {
    change([&](MetaGraphDef& meta) { meta.add_asset_file_def()->set_filename(name); });
    expect(StatusCode::kCorrupt, "asset");
    change([&](MetaGraphDef& meta) { meta.mutable_asset_file_def()->RemoveLast(); });
  }
}

TEST_F(HostileSavedModel, MissingAndDamagedVariablesAreRefused) {
  change([](MetaGraphDef& meta) {
    for (auto& node : *meta.mutable_graph_def()->mutable_node()) {
      if (node.op() == "VarHandleOp") (*node.mutable_attr())["shared_name"].set_s("nobody");
    }
  });
  expect(StatusCode::kCorrupt, "\"nobody\" is not in");
  const std::string data = folder_ + "/variables/variables.data-00000-of-00001";
  std::string bytes = read_text(data);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_text(data, bytes);
  EXPECT_EQ(import().code(), StatusCode::kCorrupt);
  fs::remove(data);
  EXPECT_EQ(import().code(), StatusCode::kCorrupt);
}

TEST_F(HostileSavedModel, WhatIsNoSavedModelIsRefused) {
  const std::string path = folder_ + "/saved_model.pb";
  const std::string bytes = read_text(path);
  for (const std::string& damaged :
       {std::string(), std::string("hello"), bytes + "junk", bytes + std::string("\x7a\x02hi", 4),
        bytes + std::string(1, '\0'), bytes.substr(0, bytes.size() / 2)}) {
    write_text(path, damaged);
    expect(StatusCode::kCorrupt, "saved_model.pb");
  }
  fs::remove(path);
  EXPECT_EQ(import().code(), StatusCode::kIo);
}

TEST_F(HostileSavedModel, AMessageNestedTooDeeplyIsRefused) {
  change([](MetaGraphDef& meta) {
    auto* value = &(*node_with_op(meta, "Relu").mutable_attr())["deep"];
    for (int i = 0; i < 60; ++i) {
      value = &(*value->mutable_func()->mutable_attr())["deeper"];
    }
    value->set_i(1);
  });
  expect(StatusCode::kCorrupt, "nested");
}

TEST_F(HostileSavedModel, EveryCutIsAnErrorAndNoneCrashes) {
  const std::string path = folder_ + "/saved_model.pb";
  const std::string bytes = read_text(path);
  for (size_t size = 0; size < bytes.size(); size += 37) {
    write_text(path, bytes.substr(0, size));
    EXPECT_FALSE(import().ok()) << size;
  }
}

TEST_F(HostileSavedModel, FlippedBitsNeverCrash) {
  const std::string path = folder_ + "/saved_model.pb";
  const std::string bytes = read_text(path);
  for (size_t at = 0; at < bytes.size(); at += 11) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
    write_text(path, damaged);
    const Status status = import();
    EXPECT_TRUE(status.ok() || !status.message().empty());
  }
}

TEST_F(HostileSavedModel, SignaturesThatAreNotThereListTheOthers) {
  expect(StatusCode::kBadData, "encoded_image, float_image", "nobody");
}

TEST_F(HostileSavedModel, TheSizeOfImagesMustNotContradictTheGraph) {
  ImportOptions options;
  options.height = 10;
  options.width = 28;
  const Status status = import_saved_model(folder_, options, registry_).status();
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_THAT(status.message(), HasSubstr("28 x 28"));
}

/// TensorFlow's own graphs, without variables: what the fuzz target starts from.
TEST(SavedModelsWithoutVariables, SeedsOfTheFuzzTargetAreRead) {
  const fs::path seeds = fs::path(NACRE_SOURCE_DIR) / "tests/fuzz/seeds/saved_model";
  const Registry registry = builtin_ops();
  size_t count = 0;
  for (const auto& seed : fs::directory_iterator(seeds)) {
    SCOPED_TRACE(seed.path().filename().string());
    const std::string folder = test_folder();
    write_text(folder + "/saved_model.pb", read_text(seed.path().string()));
    ImportOptions options;
    options.height = options.width = 8;
    const auto model = import_saved_model(folder, options, registry);
    ASSERT_TRUE(model.ok()) << model.status().message();
    EXPECT_GE(model->graph.nodes().size(), 6U);
    EXPECT_EQ(model->contract.height, 8);
    EXPECT_EQ(model->contract.channels, 3);
    ++count;
  }
  EXPECT_EQ(count, 4U);
}

}  // namespace
}  // namespace nacre
