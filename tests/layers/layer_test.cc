#include "layer_test.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "layer_runner.h"
#include "layers/conv_path.h"
#include "layers/dense_sums.h"
#include "layers/registry.h"
#include "layers/window.h"

namespace nacre {
namespace {

template <typename T>
double largest_magnitude(const BasicTensor<T>& tensor) {
  double largest = 0.0;
  for (int64_t i = 0; i < tensor.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(tensor.data()[i])));
  return largest;
}

template <typename T, typename U>
void expect_near(const BasicTensor<T>& actual, const BasicTensor<U>& expected, double relative,
                 const std::string& what) {
  ASSERT_EQ(actual.shape(), expected.shape()) << what;
  const double tolerance = relative * std::max(1e-3, largest_magnitude(expected));
  for (int64_t i = 0; i < actual.size(); ++i)
    ASSERT_NEAR(static_cast<double>(actual.data()[i]), static_cast<double>(expected.data()[i]), tolerance)
        << what << ", element " << i;
}

template <typename T>
bool same_bits(const BasicTensor<T>& a, const BasicTensor<T>& b) {
  return a.shape() == b.shape() &&
         (a.size() == 0 || std::memcmp(a.data(), b.data(), static_cast<size_t>(a.size()) * sizeof(T)) == 0);
}

void expect_same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i], b[i])) << what << ' ' << i;
}

/// Whether inference may take larger tiles of Winograd's algorithm, or training cuts a deep sum.
bool rounds_otherwise(const LayerCase& layer) {
  if (layer.op == "Dense") return layer.inputs[0][1] >= DenseSums::kLeastDepth;
  if (layer.op != "Conv2D" && layer.op != "Conv2D+MaxPool2D") return false;
  const auto attrs = parse_attributes<ConvAttrs>(layer.attributes[0]).value();
  const ConvGeometry geometry = make_conv_geometry(attrs, layer.inputs[0]).value();
  WindowAxis rows = geometry.rows();
  if (layer.attributes.size() > 1) {
    const Shape sums{1, geometry.window.y.out, geometry.window.x.out, geometry.filters};
    rows = make_pool_window(layer.attributes[1], sums).value().window.y;
  }
  return choose_forward_path(geometry, rows, Mode::kInference) == ForwardPath::kWinograd &&
         winograd_algorithm(geometry, rows, Mode::kInference).rows !=
             winograd_algorithm(geometry, rows, Mode::kTraining).rows;
}

std::unique_ptr<Operator> make(const LayerCase& layer, Mode mode = Mode::kTraining, int threads = 1) {
  auto created = create_operator(layer, mode, threads);
  EXPECT_TRUE(created.ok()) << created.status().message();
  if (!created.ok()) return nullptr;
  EXPECT_NE(created.value(), nullptr) << "the fused op does not take this chain";
  return std::move(created).value();
}

/// Only fused ops may refuse to train: they stand for a chain of layers that can.
bool is_for_inference_only(const LayerCase& layer) {
  const auto created = create_operator(layer, Mode::kTraining);
  EXPECT_TRUE(created.ok()) << created.status().message();
  if (!created.ok() || created.value() != nullptr) return false;
  EXPECT_FALSE(find_builtin(layer.op).pattern.empty()) << "makes no operator for training";
  return true;
}

Mode best_mode(const LayerCase& layer) {
  return is_for_inference_only(layer) ? Mode::kInference : Mode::kTraining;
}

/// Whether training takes statistics over the batch.
bool has_batch_statistics(const Operator& op) {
  const auto& variables = op.info().variables;
  return std::ranges::any_of(variables,
                             [](const VariableSpec& spec) { return spec.moving_average.has_value(); });
}

/// Copies row `row` of the inputs, with all variables.
void take_row(const LayerRunner<float>& from, int64_t row, LayerRunner<float>& to) {
  for (size_t i = 0; i < from.inputs.size(); ++i) {
    const int64_t size = from.inputs[i].shape().elements_per_row();
    std::copy_n(from.inputs[i].data() + row * size, size, to.inputs[i].data());
  }
  for (size_t i = 0; i < from.variables.size(); ++i) {
    std::copy_n(from.variables[i].data(), from.variables[i].size(), to.variables[i].data());
  }
}

/// Central differences of sum(grad_output * output) at up to `probes` elements of `tensor` against
/// `gradient`.
void check_differences(LayerRunner<double>& run, BasicTensor<double>& tensor,
                       const BasicTensor<double>& gradient, int64_t probes, const std::string& what) {
  constexpr double kStep = 1e-6;
  const double scale = std::max(1e-3, largest_magnitude(gradient));
  // Odd, so that the probes visit even and odd rows, columns and channels.
  const int64_t step = tensor.size() <= probes ? 1 : (tensor.size() / probes) | 1;
  for (int64_t i = 0; i < tensor.size(); i += step) {
    const double value = tensor.data()[i];
    tensor.data()[i] = value + kStep;
    run.forward(true);
    const BasicTensor<double> above = run.output.clone();
    tensor.data()[i] = value - kStep;
    run.forward(true);
    tensor.data()[i] = value;
    double difference = 0.0;
    for (int64_t j = 0; j < above.size(); ++j) {
      difference += (above.data()[j] - run.output.data()[j]) * run.grad_output.data()[j];
    }
    ASSERT_NEAR(gradient.data()[i], difference / (2.0 * kStep), 1e-6 * scale) << what << ", element " << i;
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const LayerCase& layer) {
  out << layer.op;
  for (const AttrMap& attributes : layer.attributes) {
    out << " {";
    for (const auto& [name, value] : attributes) out << ' ' << name << '=' << to_string(value);
    out << " }";
  }
  for (const Shape& shape : layer.inputs) out << ' ' << shape.to_string();
  return out;
}

std::ostream& operator<<(std::ostream& out, const RefusalCase& refusal) {
  return out << refusal.layer;
}

const OpDef& find_builtin(std::string_view name) {
  static const Registry registry = builtin_ops();
  const auto ops = registry.all();
  const auto found = std::ranges::find(ops, name, &OpDef::name);
  if (found == ops.end()) throw std::out_of_range(std::string(name));
  return *found;
}

Result<std::unique_ptr<Operator>> create_operator(const LayerCase& layer, Mode mode, int threads) {
  std::vector<const AttrMap*> attributes;
  for (const AttrMap& map : layer.attributes) attributes.push_back(&map);
  OperatorRequest request;
  request.node_name = "node";
  request.attributes = attributes;
  request.inputs = layer.inputs;
  request.mode = mode;
  request.threads = threads;
  return find_builtin(layer.op).create(request);
}

std::vector<float> forward_values(const LayerCase& layer, const std::vector<float>& input,
                                  const std::vector<std::vector<float>>& variables, bool reference) {
  const auto op = make(layer, Mode::kInference);
  LayerRunner<float> run(*op, layer.inputs, layer.inputs[0][0], 1);
  run.context.mode = Mode::kInference;
  std::ranges::copy(input, run.inputs[0].data());
  for (size_t i = 0; i < variables.size(); ++i) std::ranges::copy(variables[i], run.variables[i].data());
  run.forward(reference);
  return {run.output.data(), run.output.data() + run.output.size()};
}

std::vector<float> input_gradient(const LayerCase& layer, const std::vector<float>& input,
                                  const std::vector<std::vector<float>>& variables,
                                  const std::vector<float>& grad_output, bool reference) {
  const auto op = make(layer);
  LayerRunner<float> run(*op, layer.inputs, layer.inputs[0][0], 1);
  std::ranges::copy(input, run.inputs[0].data());
  for (size_t i = 0; i < variables.size(); ++i) std::ranges::copy(variables[i], run.variables[i].data());
  std::ranges::copy(grad_output, run.grad_output.data());
  run.forward(reference);
  run.backward(reference);
  return {run.grad_inputs[0].data(), run.grad_inputs[0].data() + run.grad_inputs[0].size()};
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LayerTest);

TEST_P(LayerTest, InfersShape) {
  const auto op = make(GetParam(), best_mode(GetParam()));
  ASSERT_NE(op, nullptr);
  EXPECT_EQ(op->info().output, GetParam().output) << op->info().output.to_string();
}

TEST_P(LayerTest, WritesDefaultsOutOnce) {
  const OpDef& op = find_builtin(GetParam().op);
  if (!op.pattern.empty()) {
    EXPECT_TRUE(op.attributes.empty()) << "a fused op has only its nodes' attributes";
    return;
  }
  const auto written = op.normalize(GetParam().attributes[0]);
  ASSERT_TRUE(written.ok()) << written.status().message();
  EXPECT_EQ(written->size(), op.attributes.size());
  for (const auto& [name, value] : GetParam().attributes[0]) EXPECT_TRUE(written->contains(name)) << name;
  const auto again = op.normalize(*written);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(*again, *written);
  LayerCase layer = GetParam();
  layer.attributes = {*written};
  EXPECT_EQ(make(layer)->info().output, GetParam().output);
}

TEST_P(LayerTest, ReferenceGradientsAreDifferences) {
  if (is_for_inference_only(GetParam())) return;
  const auto op = make(GetParam());
  LayerRunner<double> run(*op, GetParam().inputs, GetParam().inputs[0][0], 1);
  run.fill();
  run.forward(true);
  run.backward(true);
  // All elements of all but the cases that are large for their stripes' sake.
  const int64_t cost = std::max(run.output.size(), op->info().flops_per_row * GetParam().inputs[0][0]);
  const int64_t probes = std::clamp<int64_t>(60'000'000 / cost, 12, 1009);
  for (size_t i = 0; i < run.inputs.size(); ++i) {
    check_differences(run, run.inputs[i], run.grad_inputs[i], probes, "input " + std::to_string(i));
  }
  for (size_t i = 0; i < run.variables.size(); ++i) {
    if (op->info().variables[i].moving_average) continue;  // its statistic is in place of a gradient
    check_differences(run, run.variables[i], run.grad_variables[i], probes, op->info().variables[i].name);
  }
}

TEST_P(LayerTest, FastPathMatchesReference) {
  const Mode mode = best_mode(GetParam());
  const auto op = make(GetParam(), mode);
  const int64_t n = GetParam().inputs[0][0];
  LayerRunner<double> exact(*op, GetParam().inputs, n, 1);
  LayerRunner<float> reference(*op, GetParam().inputs, n, 1);
  LayerRunner<float> fast(*op, GetParam().inputs, n, 1);
  exact.fill();
  reference.fill();
  fast.fill();
  exact.context.mode = reference.context.mode = fast.context.mode = mode;
  exact.forward(true);
  reference.forward(true);
  fast.forward(false);
  expect_near(reference.output, exact.output, 1e-5, "reference output");
  expect_near(fast.output, exact.output, 1e-5, "fast output");
  if (mode == Mode::kInference) return;
  exact.backward(true);
  reference.backward(true);
  fast.backward(false);
  for (size_t i = 0; i < exact.grad_inputs.size(); ++i) {
    expect_near(reference.grad_inputs[i], exact.grad_inputs[i], 1e-5, "reference gradient of input");
    expect_near(fast.grad_inputs[i], exact.grad_inputs[i], 1e-5, "fast gradient of input");
  }
  for (size_t i = 0; i < exact.grad_variables.size(); ++i) {
    expect_near(reference.grad_variables[i], exact.grad_variables[i], 1e-5, "reference gradient of variable");
    expect_near(fast.grad_variables[i], exact.grad_variables[i], 1e-5, "fast gradient of variable");
  }
}

TEST_P(LayerTest, AnyNumberOfThreadsGivesTheSameBits) {
  const int64_t n = GetParam().inputs[0][0];
  const Mode mode = best_mode(GetParam());
  for (const bool reference : {false, true}) {
    const auto run_all = [&](LayerRunner<float>& run) {
      run.fill();
      run.context.mode = mode;
      run.forward(reference);
      if (mode == Mode::kTraining) run.backward(reference);
    };
    const auto op = make(GetParam(), mode);
    LayerRunner<float> one(*op, GetParam().inputs, n, 1);
    run_all(one);
    for (const int threads : {1, 2, 3}) {
      // Nor does the room for a larger batch matter.
      LayerCase larger = GetParam();
      for (Shape& shape : larger.inputs) shape = shape.with_batch(n + threads);
      const auto other = make(larger, mode, threads);
      LayerRunner<float> many(*other, GetParam().inputs, n, threads);
      run_all(many);
      EXPECT_TRUE(same_bits(many.output, one.output)) << threads << " threads";
      expect_same_bits(many.grad_inputs, one.grad_inputs, "gradient of input");
      expect_same_bits(many.grad_variables, one.grad_variables, "gradient of variable");
    }
  }
}

TEST_P(LayerTest, RowAloneEqualsRowInBatch) {
  const int64_t n = GetParam().inputs[0][0];
  for (const bool reference : {false, true}) {
    for (const Mode mode : {Mode::kTraining, Mode::kInference}) {
      if (mode == Mode::kTraining && is_for_inference_only(GetParam())) continue;
      const auto op = make(GetParam(), mode, 3);
      if (mode == Mode::kTraining && has_batch_statistics(*op)) continue;
      LayerRunner<float> batch(*op, GetParam().inputs, n, 3);
      batch.fill();
      batch.context.mode = mode;
      batch.forward(reference);
      LayerCase single = GetParam();
      for (Shape& shape : single.inputs) shape = shape.with_batch(1);
      const auto single_op = make(single, mode);
      LayerRunner<float> alone(*single_op, single.inputs, 1, 1);
      const int64_t size = batch.output.shape().elements_per_row();
      for (int64_t row = 0; row < n; ++row) {
        take_row(batch, row, alone);
        const std::vector<int64_t> samples{LayerRunner<float>::sample(row)};
        alone.context.samples = samples;
        alone.context.mode = mode;
        alone.forward(reference);
        ASSERT_EQ(0, std::memcmp(alone.output.data(), batch.output.data() + row * size,
                                 static_cast<size_t>(size) * sizeof(float)))
            << "row " << row << (reference ? ", reference" : ", fast path");
      }
    }
  }
}

TEST_P(LayerTest, InferenceComputesWhatTrainingDoes) {
  if (is_for_inference_only(GetParam())) return;
  if (find_builtin(GetParam().op).training_only) {
    const auto op = make(GetParam(), Mode::kInference);
    LayerRunner<float> run(*op, GetParam().inputs, GetParam().inputs[0][0], 1);
    run.fill();
    run.context.mode = Mode::kInference;
    run.forward(false);
    EXPECT_TRUE(same_bits(run.output, run.inputs[0])) << "a training-only op passes its input in inference";
    return;
  }
  const auto training_op = make(GetParam());
  const auto inference_op = make(GetParam(), Mode::kInference);
  LayerRunner<float> training(*training_op, GetParam().inputs, GetParam().inputs[0][0], 1);
  LayerRunner<float> inference(*inference_op, GetParam().inputs, GetParam().inputs[0][0], 1);
  training.fill();
  inference.fill();
  inference.context.mode = Mode::kInference;
  training.forward(false);
  if (has_batch_statistics(*training_op)) {
    // It does once the moving averages are the batch's statistics.
    training.backward(false);
    for (size_t i = 0; i < training.variables.size(); ++i) {
      if (!training_op->info().variables[i].moving_average) continue;
      inference.variables[i] = training.grad_variables[i].clone();
    }
    inference.forward(false);
    expect_near(inference.output, training.output, 1e-5, "output");
    return;
  }
  inference.forward(false);
  if (rounds_otherwise(GetParam())) {
    expect_near(inference.output, training.output, 1e-5, "output");
  } else {
    EXPECT_TRUE(same_bits(training.output, inference.output));
  }
}

TEST_P(LayerTest, PackedVariablesChangeNoBit) {
  const auto op = make(GetParam(), Mode::kInference, 2);
  LayerRunner<float> run(*op, GetParam().inputs, GetParam().inputs[0][0], 2);
  run.fill();
  run.context.mode = Mode::kInference;
  run.forward(false);
  const Tensor plain = run.output.clone();
  run.pack(2);
  run.forward(false);
  EXPECT_TRUE(same_bits(plain, run.output));
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RefusalTest);

TEST_P(RefusalTest, SaysWhy) {
  const auto created = create_operator(GetParam().layer);
  if (GetParam().reason.empty()) {
    ASSERT_TRUE(created.ok()) << created.status().message();
    EXPECT_EQ(created.value(), nullptr);
    return;
  }
  ASSERT_FALSE(created.ok());
  EXPECT_EQ(created.status().code(), StatusCode::kBadData);
  EXPECT_THAT(created.status().message(), ::testing::HasSubstr(GetParam().reason));
  EXPECT_THAT(created.status().message(), ::testing::Not(::testing::HasSubstr("\n")));
}

}  // namespace nacre
