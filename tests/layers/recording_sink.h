#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "engine/graph_sink.h"

namespace nacre {

/// Writes down what a layer says of itself to TensorFlow, a line a node: "name = Op(inputs) attribute=value".
class RecordingSink : public GraphSink {
 public:
  std::string add(std::string_view op, const std::string& name, std::vector<std::string> inputs,
                  const TfAttributes& attributes) override {
    for (const std::string& input : inputs) used.insert(input);
    std::string line;
    for (const auto& [key, value] : attributes) {
      // All layers' nodes are of floats.
      if (key == "T" && value == TfValue(TfType::kFloat)) {
        ++nodes_of_floats;
      } else {
        line += fmt::format(" {}={}", key, std::visit(Writer{}, value));
      }
    }
    ++nodes;
    return record(name, fmt::format("{}({}){}", op, fmt::join(inputs, ", "), line));
  }
  std::string constant(const std::string& name, const Shape& shape, std::span<const float> values) override {
    return record(name, fmt::format("float{} {{{}}}", shape.to_string(), fmt::join(values, ", ")));
  }
  std::string constant(const std::string& name, const Shape& shape,
                       std::span<const int32_t> values) override {
    return record(name, fmt::format("int{} {{{}}}", shape.to_string(), fmt::join(values, ", ")));
  }

  std::vector<std::string> lines;
  std::vector<std::string> names;  ///< of all nodes, constants too
  std::set<std::string> used;      ///< tensors that are inputs of nodes
  int nodes = 0;                   ///< without constants
  int nodes_of_floats = 0;

 private:
  struct Writer {
    std::string operator()(bool value) const { return value ? "true" : "false"; }
    std::string operator()(const std::string& value) const { return value; }
    std::string operator()(TfType value) const { return value == TfType::kFloat ? "float" : "int32"; }
    std::string operator()(const std::vector<int64_t>& value) const { return fmt::format("{}", value); }
    template <typename Number>
    std::string operator()(Number value) const {
      return fmt::format("{}", value);
    }
  };

  std::string record(std::string name, const std::string& what) {
    while (std::ranges::find(names, name) != names.end()) name += "_1";
    lines.push_back(name + " = " + what);
    names.push_back(name);
    return name;
  }
};

}  // namespace nacre
