#pragma once

#include <optional>
#include <vector>

#include "engine/graph.h"
#include "engine/op_def.h"
#include "engine/status.h"

namespace nacre {

/// Model files may give a layer any of Keras's usual activations, but an op computes few of them itself.
/// Takes the attribute "activation" out of `attributes`, those of a layer of op `def`, when it names one that
/// is a layer of its own here, and returns that layer, named as the activation, without inputs. Names and
/// parameters are those of keras.activations: "leaky_relu" has a slope of 0.2, where the layer LeakyReLU has
/// 0.3. Nothing when the op computes the activation itself or has none; kBadData, listing what is known, for
/// another name.
Result<std::optional<Node>> take_activation_layer(const OpDef& def, AttrMap& attributes,
                                                  const Registry& registry);

/// A layer as a model file has it.
struct LayerNodes {
  Node layer;
  std::optional<Node> activation;
};

/// All nodes in order, activations right after their layers: "conv1_relu6" reads conv1, and what read conv1
/// reads that.
std::vector<Node> put_in_line(std::vector<LayerNodes> layers);

}  // namespace nacre
