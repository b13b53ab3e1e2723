// Hostile SavedModels as the command sees them: one line, the right exit code, and nothing of them is run.
#include <algorithm>
#include <filesystem>
#include <limits>

#include "tests/cli/run_fixture.h"
#include "tests/tensorflow/small_graph.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;
using tensorflow::GraphDef;
using tensorflow::MetaGraphDef;
using tensorflow::NodeDef;
using testing::HasSubstr;

class HostileSavedModelCommand : public RunTest {
 protected:
  [[nodiscard]] Outcome convert(const std::string& model) const {
    return nacre({"convert", model, "--to", "bundle", "--out", "x.nacre"});
  }
  void expect(const std::string& model, int code, const std::string& reason) const {
    SCOPED_TRACE(reason);
    for (const Outcome& outcome : {convert(model), nacre({"verify", model})}) {
      EXPECT_EQ(outcome.code, code) << outcome.err;
      EXPECT_THAT(outcome.err, HasSubstr(reason));
      EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    }
    EXPECT_FALSE(exists("x.nacre"));
  }
  /// Of a graph whose node "step", of images, `change` makes hostile.
  void expect_of_graph(int code, const std::string& reason,
                       const std::function<void(MetaGraphDef&, NodeDef&)>& change) const {
    fs::remove_all(path("graph"));
    fs::create_directories(path("graph"));
    write_small_graph(path("graph"), {-1, 8, 8, 3}, [](GraphDef& graph) {
      add(graph, "step", "Relu", {"image"});
      add_head(graph, "step", 3, "out");
    });
    tensorflow::SavedModel model;
    ASSERT_TRUE(model.ParseFromString(read("graph/saved_model.pb")));
    MetaGraphDef& meta = *model.mutable_meta_graphs(0);
    for (NodeDef& node : *meta.mutable_graph_def()->mutable_node()) {
      if (node.name() == "step") change(meta, node);
    }
    write("graph/saved_model.pb", model.SerializeAsString());
    expect("graph", code, reason);
  }
};

void call_first(NodeDef& step) {
  step.set_op("PartitionedCall");
  (*step.mutable_attr())["f"].mutable_func()->set_name("f0");
}

/// Item 34.
TEST_F(HostileSavedModelCommand, OpsThatReachOutsideAreNamed) {
  for (const std::string op : {"ReadFile", "PyFunc", "EagerPyFunc", "WriteFile", "Custom>Op"}) {
    expect_of_graph(6, "node \"step\" (" + op + ")",
                    [&](MetaGraphDef& /*meta*/, NodeDef& step) { step.set_op(op); });
  }
}

/// Item 34: a target that a run would leave behind, reached by value and by a control edge.
TEST_F(HostileSavedModelCommand, NothingIsEverWritten) {
  fs::create_directories(path("graph"));
  for (const bool by_value : {true, false}) {
    write_small_graph(path("graph"), {-1, 8, 8, 3}, [&](GraphDef& graph) {
      for (const auto& [name, text] : {std::pair{"target", path("planted")}, {"text", std::string("x")}}) {
        auto& tensor = *(*add(graph, name, "Const", {}).mutable_attr())["value"].mutable_tensor();
        tensor.set_dtype(tensorflow::DT_STRING);
        tensor.mutable_tensor_shape();
        tensor.add_string_val(text);
      }
      add(graph, "write", "WriteFile", {"target", "text"});
      add(graph, "step", by_value ? "AddV2" : "Relu",
          by_value ? std::vector<std::string>{"image", "write"}
                   : std::vector<std::string>{"image", "^write"});
      add_head(graph, "step", 3, "out");
    });
    const Outcome outcome = convert("graph");
    EXPECT_EQ(outcome.code, by_value ? 6 : 0) << outcome.err;
    if (by_value) {
      EXPECT_THAT(outcome.err, HasSubstr("node \"write\" (WriteFile)"));
    } else {
      EXPECT_EQ(nacre({"verify", "x.nacre"}).code, 0);
    }
    EXPECT_EQ(nacre({"inspect", "graph"}).code, 0);
    EXPECT_EQ(nacre({"verify", "graph"}).code, outcome.code);
    EXPECT_FALSE(exists("planted"));
  }
}

/// Item 35.
TEST_F(HostileSavedModelCommand, CallsWithoutAnEndAreRefused) {
  expect_of_graph(4, "calls itself", [](MetaGraphDef& meta, NodeDef& step) {
    call_first(step);
    add_function(meta, "f0", "f1", 1);
    add_function(meta, "f1", "f0", 1);
  });
  expect_of_graph(4, "nested more than", [](MetaGraphDef& meta, NodeDef& step) {
    call_first(step);
    for (int i = 0; i < 5000; ++i) {
      add_function(meta, "f" + std::to_string(i), "f" + std::to_string(i + 1), 1);
    }
    add_function(meta, "f5000", "", 0);
  });
  expect_of_graph(4, "calls of functions", [](MetaGraphDef& meta, NodeDef& step) {
    call_first(step);
    for (int i = 0; i < 40; ++i) add_function(meta, "f" + std::to_string(i), "f" + std::to_string(i + 1), 2);
    add_function(meta, "f40", "", 0);
  });
  expect_of_graph(4, "steps", [](MetaGraphDef& /*meta*/, NodeDef& step) {
    step.set_op("Identity");
    step.set_input(0, "step");
  });
  expect_of_graph(4, "cycle", [](MetaGraphDef& /*meta*/, NodeDef& step) { step.set_input(0, "step"); });
}

/// Items 36, 39 to 41.
TEST_F(HostileSavedModelCommand, DamagedGraphsAreRefused) {
  const auto with_constant = [](NodeDef& step, MetaGraphDef& meta, bool value, int64_t extent) {
    step.set_op("AddV2");
    step.add_input("damaged");
    NodeDef& constant = add(*meta.mutable_graph_def(), "damaged", "Const", {});
    if (!value) return;
    auto& tensor = *(*constant.mutable_attr())["value"].mutable_tensor();
    tensor.set_dtype(tensorflow::DT_FLOAT);
    tensor.mutable_tensor_shape()->add_dim()->set_size(extent);
    tensor.add_float_val(1);
  };
  expect_of_graph(4, "(Const): has no value",
                  [&](MetaGraphDef& meta, NodeDef& step) { with_constant(step, meta, false, 0); });
  expect_of_graph(4, "shape",
                  [&](MetaGraphDef& meta, NodeDef& step) { with_constant(step, meta, true, -2); });
  expect_of_graph(4, "attribute ksize", [](MetaGraphDef& /*meta*/, NodeDef& step) {
    step.set_op("MaxPool");
    (*step.mutable_attr())["ksize"].set_s("two");
  });
  expect_of_graph(6, "reader of version", [](MetaGraphDef& meta, NodeDef& /*step*/) {
    meta.mutable_graph_def()->mutable_versions()->set_min_consumer(1 << 30);
  });
  expect_of_graph(4, "asset \"../x\"", [](MetaGraphDef& meta, NodeDef& /*step*/) {
    meta.add_asset_file_def()->set_filename("../x");
  });
  expect_of_graph(4, "input \"nobody\" is no node",
                  [](MetaGraphDef& /*meta*/, NodeDef& step) { step.set_input(0, "nobody"); });
  write("graph/saved_model.pb", read("graph/saved_model.pb") + "junk");
  expect("graph", 4, "saved_model.pb");
}

/// Item 32.
TEST_F(HostileSavedModelCommand, WeightsWithoutFiniteAnswersAreRefused) {
  const auto make = [&](float weight) {
    fs::create_directories(path("graph"));
    write_small_graph(path("graph"), {-1, 8, 8, 3}, [&](GraphDef& graph) {
      add_constant(graph, "by", {3}, {1, weight, 2});
      add(graph, "step", "Mul", {"image", "by"});
      add(graph, "sum", "AddV2", {"step", "step"});
      add_head(graph, "sum", 3, "out");
    });
  };
  make(std::numeric_limits<float>::infinity());
  expect("graph", 8, "graph: tensor 'step/gamma' holds a value that is NaN or infinite");
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"verify", "graph", "--allow-nonfinite"},
        {"inspect", "graph"},
        {"diff", "graph", "graph"}}) {
    const Outcome outcome = nacre(command);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
  }
  make(std::numeric_limits<float>::max());
  expect("graph", 8, "answer is not finite");
}

/// Items 37, 38, 40 and 41, of what nacre wrote.
TEST_F(HostileSavedModelCommand, DamagedVariablesAreRefused) {
  ASSERT_EQ(train("run").code, 0);
  ASSERT_EQ(nacre({"convert", "run", "--to", "saved_model", "--out", "model"}).code, 0);
  const std::string index = "model/variables/variables.index";
  const std::string shard = "model/variables/variables.data-00000-of-00001";
  for (const std::string& file : {index, shard}) {
    const std::string bytes = read(file);
    for (const std::string& damaged : {std::string(), bytes.substr(0, bytes.size() / 2),
                                       bytes.substr(0, bytes.size() - 1), bytes + "junk"}) {
      write(file, damaged);
      expect("model", 4, "model/variables/variables.");
    }
    ASSERT_TRUE(fs::remove(path(file)));
    EXPECT_EQ(convert("model").code, 4);
    EXPECT_EQ(nacre({"verify", "model"}).code, 4);
    write(file, bytes);
  }
  EXPECT_EQ(convert("model").code, 0);
}

}  // namespace
}  // namespace nacre
