#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/checkpoint.h"
#include "engine/graph.h"
#include "engine/plan.h"
#include "layers/registry.h"
#include "train/dataset.h"

namespace nacre {

inline const Registry& layers() {
  static const Registry registry = builtin_ops();
  return registry;
}

inline Node layer(std::string name, std::string op, std::string input, AttrMap attributes = {}) {
  Node node;
  node.name = std::move(name);
  node.op = std::move(op);
  node.inputs = {std::move(input)};
  node.attributes = std::move(attributes);
  return node;
}

inline Graph graph_of(std::vector<Node> nodes) {
  auto graph = Graph::make(std::move(nodes));
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  return std::move(graph).value();
}

/// Flatten, a hidden layer with or without dropout, and logits.
inline Graph small_network(int64_t classes, bool dropout) {
  std::vector<Node> nodes{
      layer("flat", "Flatten", "input"),
      layer("hidden", "Dense", "flat", {{"units", int64_t{6}}, {"activation", std::string("relu")}})};
  if (dropout) nodes.push_back(layer("drop", "Dropout", "hidden", {{"rate", 0.3}}));
  nodes.push_back(layer("logits", "Dense", dropout ? "drop" : "hidden", {{"units", classes}}));
  return graph_of(std::move(nodes));
}

/// `count` grey pictures of 4x4: picture i is of class i mod classes, whose rows of pixels are bright, the
/// others dark, with some pattern of its own.
inline std::shared_ptr<const Dataset> striped_pictures(int64_t count, int64_t classes) {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  std::vector<std::string> names;
  for (int64_t c = 0; c < classes; ++c) names.push_back("class" + std::to_string(c));
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t p = 0; p < 16; ++p) {
      const bool bright = p / 4 % classes == i % classes;
      pixels.push_back(static_cast<uint8_t>((bright ? 180 : 20) + (i * 31 + p * 17) % 50));
    }
    labels.push_back(static_cast<int32_t>(i % classes));
  }
  InputContract contract;
  contract.height = 4;
  contract.width = 4;
  contract.channels = 1;
  auto data =
      Dataset::from_pixels(std::move(pixels), 4, 4, 1, std::move(labels), std::move(names), contract, "grey");
  EXPECT_TRUE(data.ok()) << data.status().message();
  return data.ok() ? *data : nullptr;
}

/// A run's start: initial variables for `seed`.
inline Checkpoint fresh(const Graph& graph, uint64_t seed) {
  Checkpoint checkpoint;
  checkpoint.state.seed = seed;
  auto plan = Plan::make(graph, layers(), Shape{4, 4, 1}, {});
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  checkpoint.variables = plan->initial_variables(seed);
  return checkpoint;
}

/// Every bit of every tensor, with names.
inline std::string bits_of(const VariableStore& store) {
  std::string bits;
  for (const auto& [name, tensor] : store.tensors()) {
    bits += name;
    if (tensor.size() == 0) continue;
    bits.append(reinterpret_cast<const char*>(tensor.data()),
                static_cast<size_t>(tensor.size()) * sizeof(float));
  }
  return bits;
}

}  // namespace nacre
