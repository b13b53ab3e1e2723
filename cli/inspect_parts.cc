#include "cli/inspect_parts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <variant>

#include "cli/console.h"

namespace nacre {
namespace {

using enum Table::Align;

std::string_view dct_name(JpegDct dct) {
  return dct == JpegDct::kFast ? "fast" : "accurate";
}
std::string_view exif_name(ExifPolicy exif) {
  return exif == ExifPolicy::kApply ? "apply" : "ignore";
}
std::string_view resize_name(ResizePolicy resize) {
  return resize == ResizePolicy::kExact ? "exact" : "bilinear";
}

std::string dims_text(const std::vector<int64_t>& dims) {
  return fmt::format("[{}]", fmt::join(dims, ", "));
}

/// What the graph says of a layer, and what the plan makes of it.
Json layer_json(const NodeSummary& layer, const Node& node) {
  Json attributes = Json::object();
  for (const auto& [name, value] : node.attributes) {
    attributes[name] = std::visit([](const auto& v) { return Json(v); }, value);
  }
  const std::vector<int64_t> shape(layer.output.dims().begin() + 1, layer.output.dims().end());
  return {{"name", layer.name},
          {"op", layer.op},
          {"inputs", node.inputs},
          {"attributes", attributes},
          {"output_shape", shape},
          {"parameters", layer.parameters},
          {"mflop", static_cast<double>(layer.flops_per_row) / 1e6}};
}

Json tensors_json(const std::vector<SignatureTensor>& tensors) {
  Json list = Json::array();
  for (const SignatureTensor& t : tensors)
    list.push_back({{"name", t.name}, {"dtype", t.dtype}, {"shape", t.shape}});
  return list;
}

/// "serving_default (tensorflow/serving/predict): image string [-1] -> prediction float32 [-1, 10]"
std::string signature_line(const Signature& signature) {
  const auto list = [](const std::vector<SignatureTensor>& tensors) {
    std::vector<std::string> texts;
    for (const SignatureTensor& t : tensors)
      texts.push_back(fmt::format("{} {} {}", t.name, t.dtype, dims_text(t.shape)));
    return fmt::format("{}", fmt::join(texts, ", "));
  };
  return fmt::format("{} ({}): {} -> {}", signature.name, signature.method, list(signature.inputs),
                     list(signature.outputs));
}

}  // namespace

Result<std::vector<NodeSummary>> layers_of(const Session& session, const Graph& graph,
                                           const InputContract& contract) {
  const Shape row{contract.height, contract.width, contract.channels};
  NACRE_ASSIGN_OR_RETURN(const Plan plan, Plan::make(graph, session.registry, row,
                                                     session.plan_options(Mode::kInference, 1, 1)));
  return plan.nodes();
}

Json input_json(const InputContract& in) {
  return {{"height", in.height},        {"width", in.width},
          {"channels", in.channels},    {"jpeg_dct", dct_name(in.jpeg_dct)},
          {"exif", exif_name(in.exif)}, {"resize", resize_name(in.resize)},
          {"scale", in.scale}};
}

std::string input_line(const InputContract& in) {
  return fmt::format("input: {} x {} x {}, scale {}, jpeg_dct {}, exif {}, resize {}\n", in.height, in.width,
                     in.channels, in.scale, dct_name(in.jpeg_dct), exif_name(in.exif),
                     resize_name(in.resize));
}

Json layers_json(const std::vector<NodeSummary>& layers, const std::vector<Node>& nodes) {
  Json list = Json::array();
  for (size_t i = 0; i < layers.size(); ++i) list.push_back(layer_json(layers[i], nodes[i]));
  return list;
}

Json signatures_json(const std::vector<Signature>& signatures) {
  Json list = Json::array();
  for (const Signature& s : signatures) {
    list.push_back({{"name", s.name},
                    {"method", s.method},
                    {"inputs", tensors_json(s.inputs)},
                    {"outputs", tensors_json(s.outputs)}});
  }
  return list;
}

std::string layer_table(const std::vector<NodeSummary>& layers) {
  Table table(
      {{"layer", kLeft}, {"op", kLeft}, {"output", kLeft}, {"parameters", kRight}, {"MFLOP", kRight}});
  int64_t parameters = 0;
  int64_t flops = 0;
  const auto mflop = [](int64_t n) { return fmt::format("{:.3f}", static_cast<double>(n) / 1e6); };
  for (const NodeSummary& layer : layers) {
    const std::vector<int64_t> shape(layer.output.dims().begin() + 1, layer.output.dims().end());
    table.add_row({layer.name, layer.op, fmt::format("{}", fmt::join(shape, " x ")),
                   with_commas(layer.parameters), mflop(layer.flops_per_row)});
    parameters += layer.parameters;
    flops += layer.flops_per_row;
  }
  table.add_rule();
  table.add_row({"total", "", "", with_commas(parameters), mflop(flops)});
  return table.to_string();
}

std::string signature_lines(const std::vector<Signature>& signatures) {
  std::string text;
  for (const Signature& s : signatures) text += printable("signature " + signature_line(s)) + "\n";
  return text;
}

std::string labels_line(const std::vector<std::string>& labels) {
  constexpr size_t kMaxLabels = 20;
  const size_t shown = std::min(labels.size(), kMaxLabels);
  const std::vector<std::string> first(labels.begin(), labels.begin() + static_cast<std::ptrdiff_t>(shown));
  return printable(fmt::format("labels ({}): {}{}", labels.size(), fmt::join(first, ", "),
                               shown < labels.size() ? ", ..." : "")) +
         "\n";
}

Json state_json(const TrainingState& state) {
  Json json = {{"step", state.step},
               {"epoch", state.epoch},
               {"batch_in_epoch", state.batch_in_epoch},
               {"seed", state.seed},
               {"data_digest", state.data_digest},
               {"best_accuracy", nullptr},
               {"best_step", state.best_step},
               {"validations_since_best", state.validations_since_best}};
  if (state.best_accuracy >= 0) json["best_accuracy"] = state.best_accuracy;
  return json;
}

Json parsed_or_text(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json(text) : json;
}

std::string settings_text(const std::string& text) {
  const Json json = parsed_or_text(text);
  if (!json.is_object()) return " " + printable(text);
  constexpr size_t kWidth = 80;
  constexpr std::string_view kIndent = "  ";
  std::string result;
  size_t column = kWidth;
  for (const auto& [key, value] : json.items()) {
    const std::string shown = value.is_string() ? value.get<std::string>()
                                                : value.dump(-1, ' ', false, Json::error_handler_t::replace);
    const std::string entry = printable(key + " " + shown);
    if (!result.empty()) result += ",";
    if (column + entry.size() + 3 > kWidth) {
      result += "\n" + std::string(kIndent);
      column = kIndent.size();
    } else {
      result += " ";
    }
    result += entry;
    column += entry.size() + 2;
  }
  return result;
}

std::string state_line(const TrainingState& state) {
  std::string text = fmt::format("step {}, {} done", with_commas(static_cast<int64_t>(state.step)),
                                 counted(static_cast<int64_t>(state.epoch), "epoch"));
  if (state.batch_in_epoch > 0) {
    text += fmt::format(" and {} of the next",
                        counted(static_cast<int64_t>(state.batch_in_epoch), "batch", "batches"));
  }
  text += fmt::format(", seed {}", state.seed);
  if (state.best_accuracy >= 0) {
    text += fmt::format(", best validation accuracy {:.2f}% (step {})", 100 * state.best_accuracy,
                        with_commas(static_cast<int64_t>(state.best_step)));
  }
  return text + "\n";
}

}  // namespace nacre
