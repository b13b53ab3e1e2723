// Graphs of a few thousand bytes whose constants are large: an import ends soon, and takes little memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>

#include "layers/registry.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "tests/tensorflow/saved_model_files.h"
#include "tests/tensorflow/small_graph.h"

namespace nacre {
namespace {

using tensorflow::GraphDef;
using tensorflow::NodeDef;

constexpr int64_t kMillion = int64_t{1} << 20;

class HostileConstants : public testing::Test {
 protected:
  /// Imports a graph of images [N, 8, 8, 3] called "image", whose output is "out".
  static Status import(const std::function<void(GraphDef&)>& build) {
    const std::string folder = test_folder();
    write_small_graph(folder, {-1, 8, 8, 3}, build);
    const double begun = thread_seconds();
    const Status status = import_saved_model(folder, {}, builtin_ops()).status();
    EXPECT_LT(thread_seconds() - begun, kMaxImportSeconds) << status.message();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(status.message().find('\n'), std::string::npos);
    return status;
  }

  /// Many nodes that each combine the image with one constant, all added up.
  static Status import_many(const std::string& op, int count, std::initializer_list<int64_t> dims,
                            bool transpose = false) {
    return import([&](GraphDef& graph) {
      add_constant(graph, "big", dims, {0.5F});
      NodeDef sum;
      for (int i = 0; i < count; ++i) {
        NodeDef& node = add(graph, "n" + std::to_string(i), op, {"image", "big"});
        if (transpose) (*node.mutable_attr())["transpose_b"].set_b(true);
        sum.add_input(node.name());
      }
      sum.set_name("out");
      sum.set_op("AddN");
      *graph.add_node() = sum;
    });
  }
};

TEST_F(HostileConstants, OneThatManyNodesReadIsNotChangedForEach) {
  for (const std::string op : {"Sub", "RealDiv", "Mul", "AddV2"}) {
    SCOPED_TRACE(op);
    EXPECT_EQ(import_many(op, 10, {kMillion}).code(), StatusCode::kUnsupported);
    EXPECT_EQ(import_many(op, 60000, {4 * kMillion}).code(), StatusCode::kUnsupported);
    EXPECT_EQ(import_many(op, 200, {32 * kMillion}).code(), StatusCode::kLimit);
  }
}

TEST_F(HostileConstants, KernelsAreNotTransposedBeforeTheyFit) {
  EXPECT_EQ(import_many("MatMul", 200, {1 << 12, 1 << 10}, true).code(), StatusCode::kCorrupt);
  EXPECT_EQ(import_many("MatMul", 200, {1 << 12, 1 << 13}, true).code(), StatusCode::kLimit);
}

TEST_F(HostileConstants, ProductsOfConstantsAreBounded) {
  const auto product = [](std::initializer_list<int64_t> rows, std::initializer_list<int64_t> columns) {
    return import([&](GraphDef& graph) {
      add_constant(graph, "rows", rows, {0.5F});
      add_constant(graph, "columns", columns, {0.5F});
      for (int i = 0; i < 100; ++i) add(graph, "p" + std::to_string(i), "Mul", {"rows", "columns"});
      std::string last = "image";
      for (int i = 0; i < 100; ++i) {
        const std::string name = i == 99 ? "out" : "s" + std::to_string(i);
        add(graph, name, "Sub", {last, "p" + std::to_string(i)});
        last = name;
      }
    });
  };
  EXPECT_EQ(product({8192, 1}, {1, 8191}).code(), StatusCode::kLimit);
  EXPECT_EQ(product({2048, 1}, {1, 2047}).code(), StatusCode::kLimit);
  EXPECT_EQ(product({64, 1, 64, 1, 8, 1, 2, 1}, {1, 32, 1, 8, 1, 2, 1, 1}).code(), StatusCode::kLimit);
  EXPECT_EQ(product({32, 1, 32, 1, 8, 1, 2, 1}, {1, 16, 1, 8, 1, 2, 1, 1}).code(), StatusCode::kLimit);
}

TEST_F(HostileConstants, OneKernelOfManyGroupsIsNotJoined) {
  const Status status = import([](GraphDef& graph) {
    constexpr int kGroups = 3;
    add_constant(graph, "kernel", {1024, 1365, 1, 3}, {0.5F});
    add_integers(graph, "axis", {}, {3});
    NodeDef concat;
    std::string last = "image";
    for (int layer = 0; layer < 40; ++layer) {
      const std::string tag = std::to_string(layer);
      (*add(graph, "split" + tag, "Split", {"axis", last}).mutable_attr())["num_split"].set_i(kGroups);
      concat.clear_input();
      for (int g = 0; g < kGroups; ++g) {
        const std::string port = g == 0 ? "" : ":" + std::to_string(g);
        NodeDef& conv =
            add(graph, "conv" + tag + "_" + std::to_string(g), "Conv2D", {"split" + tag + port, "kernel"});
        (*conv.mutable_attr())["padding"].set_s("SAME");
        concat.add_input(conv.name());
      }
      concat.add_input("axis");
      concat.set_name(layer == 39 ? "out" : "concat" + tag);
      concat.set_op("ConcatV2");
      *graph.add_node() = concat;
      last = concat.name();
    }
  });
  EXPECT_NE(status.code(), StatusCode::kOk) << status.message();
}

TEST_F(HostileConstants, ShapesOfMillionsOfExtentsAreRefused) {
  const Status status = import([](GraphDef& graph) {
    add_integers(graph, "extents", {4 * kMillion}, {-1, 1});
    std::string last = "image";
    for (int i = 0; i < 1000; ++i) {
      const std::string name = i == 999 ? "out" : "r" + std::to_string(i);
      add(graph, name, "Reshape", {last, "extents"});
      last = name;
    }
  });
  EXPECT_EQ(status.code(), StatusCode::kUnsupported) << status.message();
  const Status joined = import([](GraphDef& graph) {
    add_integers(graph, "extents", {4 * kMillion}, {-1, 1});
    add_integers(graph, "axis", {}, {0});
    NodeDef concat;
    concat.set_name("shape");
    concat.set_op("ConcatV2");
    for (int i = 0; i < 60000; ++i) concat.add_input("extents");
    concat.add_input("axis");
    *graph.add_node() = concat;
    add(graph, "out", "Reshape", {"image", "shape"});
  });
  EXPECT_EQ(joined.code(), StatusCode::kLimit) << joined.message();
}

}  // namespace
}  // namespace nacre
