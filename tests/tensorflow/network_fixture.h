#pragma once

#include <string>
#include <string_view>

#include "engine/bundle.h"
#include "schemas/tensorflow/saved_model.pb.h"

namespace nacre {

/// Layers of a model file for images of 6x5 colours with 3 classes: one of each kind of trouble.
inline constexpr std::string_view kSmallLayers = R"([
  {"op": "Conv2D", "name": "conv1", "filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu"},
  {"op": "BatchNorm", "name": "bn", "momentum": 0.9},
  {"op": "Flatten", "name": "flatten"},
  {"op": "Dropout", "name": "dropout"},
  {"op": "Dense", "name": "out", "units": "classes"}])";

/// A bundle for prediction with variables at their start, labels "anna", "bert", "cleo" and two golden
/// vectors whose images are any bytes. `input` has more members of the model file's "input", such as `,
/// "exif": "apply"`.
Bundle make_bundle(std::string_view layers = kSmallLayers, std::string_view input = "");

/// The node of that name; fails the test when there is none.
const tensorflow::NodeDef& node_of(const tensorflow::GraphDef& graph, const std::string& name);
const tensorflow::NodeDef& node_of(const tensorflow::FunctionDef& function, const std::string& name);

/// "Op(input, ...)"
std::string call_of(const tensorflow::NodeDef& node);

}  // namespace nacre
