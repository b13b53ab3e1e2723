// A layer that nacre does not have: Swish, y = x sigmoid(x) (Ramachandran, Zoph, Le: "Searching for
// activation functions", 2017). It is described once, put into the registry beside the built-in ops, and from
// then on is a layer like any other: in model files, training, bundles and prediction.
#include <nacre/engine/random.h>
#include <nacre/layers/model_file.h>
#include <nacre/layers/op_common.h>
#include <nacre/layers/registry.h>
#include <nacre/runtime/model.h>
#include <nacre/runtime/prediction_bundle.h>
#include <nacre/serialize/bundle_file.h>
#include <nacre/train/trainer.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

struct SwishAttrs {
  double beta = 1.0;
  /// The one list of attributes: reader, writer and documentation run over it.
  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("beta", beta, 0.0, 100.0, "factor of x in the sigmoid");
  }
};

/// Written once for float and double. A faster forward(ForwardArgs<float>) could be added beside it.
class Swish final : public nacre::ReferenceOperator<Swish> {
 public:
  Swish(const SwishAttrs& attrs, const nacre::Shape& shape) : beta_(attrs.beta) { info_.output = shape; }

  template <typename T>
  void reference_forward(const nacre::ForwardArgs<T>& args) const {
    const T* x = args.inputs[0].data;
    for (int64_t i = 0; i < args.output.size(); ++i) args.output.data[i] = x[i] * sigmoid(x[i]);
  }

  /// dx = dy (s + beta x s (1 - s)), s = sigmoid(beta x).
  template <typename T>
  void reference_backward(const nacre::BackwardArgs<T>& args) const {
    T* dx = args.grad_inputs[0].data;
    if (dx == nullptr) return;  // nobody asks for it
    const T* x = args.inputs[0].data;
    for (int64_t i = 0; i < args.output.size(); ++i) {
      const T s = sigmoid(x[i]);
      dx[i] = args.grad_output.data[i] * (s + static_cast<T>(beta_) * x[i] * s * (1 - s));
    }
  }

 private:
  template <typename T>
  [[nodiscard]] T sigmoid(T x) const {
    return 1 / (1 + std::exp(-static_cast<T>(beta_) * x));
  }

  double beta_;
};

nacre::Result<std::unique_ptr<nacre::Operator>> create_swish(const nacre::OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, nacre::parse_attributes<SwishAttrs>(*request.attributes[0]));
  NACRE_RETURN_IF_ERROR(nacre::check_batch_input(request.inputs[0]));
  return std::unique_ptr<nacre::Operator>(std::make_unique<Swish>(attrs, request.inputs[0]));
}

nacre::OpDef swish_op() {
  nacre::OpDef op;
  op.name = "Swish";
  op.summary = "Multiplies each element by the sigmoid of it.";
  op.formula = "[N, ...] -> [N, ...]: y = x sigmoid(beta x)";
  op.attributes = nacre::document_attributes<SwishAttrs>();
  op.create = create_swish;
  op.normalize = nacre::normalize_attributes<SwishAttrs>;
  return op;
}

constexpr const char* kModel = R"({
  "name": "swishy",
  "input": {"height": 6, "width": 6, "channels": 1},
  "layers": [
    {"op": "Flatten"},
    {"op": "Dense", "units": 16},
    {"op": "Swish", "beta": 1.5},
    {"op": "Dense", "name": "out", "units": "classes"}
  ]
})";

/// Dark pictures with one light half, the upper one (class 0) or the lower one (class 1).
nacre::Result<std::shared_ptr<const nacre::Dataset>> make_data(const nacre::InputContract& input) {
  const nacre::RandomStream random(1, nacre::hash_name(std::string("halves")));
  std::vector<uint8_t> pixels;
  std::vector<int32_t> classes;
  for (uint64_t i = 0; i < 64; ++i) {
    for (uint64_t p = 0; p < 36; ++p) {
      const bool light = (p < 18) == (i % 2 == 0);
      pixels.push_back(static_cast<uint8_t>((light ? 100 : 0) + random.below(36 * i + p, 100)));
    }
    classes.push_back(static_cast<int32_t>(i % 2));
  }
  return nacre::Dataset::from_pixels(std::move(pixels), 6, 6, 1, std::move(classes), input.labels, input);
}

nacre::Status run(const std::string& folder) {
  const nacre::Registry builtin = nacre::builtin_ops();
  std::vector<nacre::OpDef> ops(builtin.all().begin(), builtin.all().end());
  ops.push_back(swish_op());
  const nacre::Registry registry(std::move(ops));

  NACRE_ASSIGN_OR_RETURN(const auto description, nacre::parse_model(kModel, "swishy", registry));
  NACRE_ASSIGN_OR_RETURN(const nacre::Graph graph, nacre::build_graph(description, 2, registry));
  nacre::Checkpoint checkpoint;
  checkpoint.contract = description.input;
  checkpoint.contract.labels = {"upper", "lower"};
  NACRE_ASSIGN_OR_RETURN(const auto data, make_data(checkpoint.contract));
  NACRE_ASSIGN_OR_RETURN(const nacre::Plan plan,
                         nacre::Plan::make(graph, registry, nacre::Shape{6, 6, 1}, {}));
  checkpoint.variables = plan.initial_variables(/*seed=*/1);
  nacre::TrainOptions options;
  options.batch_size = 16;
  options.steps = 60;
  options.optimizer.learning_rate = 0.2;
  NACRE_RETURN_IF_ERROR(
      nacre::train(graph, registry, data, nullptr, options, checkpoint, {}, [] { return false; }).status());

  const std::string path = folder + "/swishy.nacre";
  NACRE_ASSIGN_OR_RETURN(
      const nacre::Bundle made,
      nacre::make_prediction_bundle(description.name, graph, std::move(checkpoint.variables),
                                    checkpoint.contract, registry));
  NACRE_RETURN_IF_ERROR(nacre::write_bundle(path, made, {.overwrite = true}));

  // Who reads the bundle needs the layer as well.
  NACRE_ASSIGN_OR_RETURN(nacre::Bundle bundle, nacre::open_bundle(path, registry));
  NACRE_ASSIGN_OR_RETURN(
      const nacre::Model model,
      nacre::Model::make(std::make_shared<const nacre::Bundle>(std::move(bundle)), registry));
  int correct = 0;
  std::vector<float> input(36);
  std::vector<float> probabilities(2);
  for (int64_t i = 0; i < data->size(); ++i) {
    NACRE_RETURN_IF_ERROR(data->read(i, input.data()));
    NACRE_RETURN_IF_ERROR(model.classify_inputs(input, probabilities));
    if (model.best(probabilities).front().index == static_cast<size_t>(data->label(i))) ++correct;
  }
  std::printf("%d of %lld right\n", correct, static_cast<long long>(data->size()));
  const nacre::Status without = nacre::Model::load(path).status();
  std::printf("without the layer: %s\n", without.message().c_str());
  return correct == data->size() ? nacre::Status()
                                 : nacre::Status(nacre::StatusCode::kInternal, "not all were right");
}

}  // namespace

int main(int argc, char** argv) {
  const nacre::Status status = run(argc > 1 ? argv[1] : ".");
  if (!status.ok()) std::fprintf(stderr, "custom_layer: %s\n", status.message().c_str());
  return static_cast<int>(status.code());
}
