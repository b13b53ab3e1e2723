#include "serialize/tensorflow/saved_model_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <vector>

#include "engine/file.h"
#include "serialize/tensorflow/within_folder.h"

namespace nacre {
namespace {

constexpr int64_t kSchemaVersion = 1;
constexpr std::string_view kTag = "serve";

std::vector<std::string> tags_of(const tensorflow::MetaGraphDef& meta) {
  return {meta.meta_info_def().tags().begin(), meta.meta_info_def().tags().end()};
}

}  // namespace

std::string saved_model_path(const std::string& folder) {
  return folder + "/saved_model.pb";
}

std::string saved_model_variables(const std::string& folder) {
  return folder + "/variables/variables";
}

Result<tensorflow::MetaGraphDef> read_saved_model(const std::string& folder) {
  const std::string path = saved_model_path(folder);
  NACRE_RETURN_IF_ERROR(check_within_folder(path, folder));
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(path, kMaxSavedModelBytes));
  const auto fail = [&](StatusCode code, const std::string& reason) {
    return Status(code, path + ": " + reason);
  };
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t*>(bytes.data()),
                                                static_cast<int>(bytes.size()));
  stream.SetRecursionLimit(kMaxMessageDepth);
  // Protobuf would print what it finds wrong.
  const google::protobuf::LogSilencer silence;
  tensorflow::SavedModel model;
  const bool parsed = model.ParseFromCodedStream(&stream) && stream.ConsumedEntireMessage();
  // Whatever follows the last field would pass as fields that are not known.
  if (!parsed || !model.GetReflection()->GetUnknownFields(model).empty()) {
    return fail(StatusCode::kCorrupt,
                "is no SavedModel: its protocol buffer is damaged, or nested too deeply");
  }
  if (model.meta_graphs_size() == 0) return fail(StatusCode::kCorrupt, "holds no graph");
  if (model.saved_model_schema_version() > kSchemaVersion) {
    return fail(StatusCode::kUnsupported, fmt::format("expected version {} of the format, found {}",
                                                      kSchemaVersion, model.saved_model_schema_version()));
  }
  std::vector<std::string> found;
  for (tensorflow::MetaGraphDef& meta : *model.mutable_meta_graphs()) {
    const std::vector<std::string> tags = tags_of(meta);
    if (tags.size() == 1 && tags.front() == kTag) return std::move(meta);
    found.push_back(fmt::format("[{}]", fmt::join(tags, ", ")));
  }
  if (found.size() > 8) found.resize(8);
  return fail(StatusCode::kBadData,
              fmt::format("expected a graph with the tag {}, found {}", kTag, fmt::join(found, ", ")));
}

Result<std::string> pick_signature(const tensorflow::MetaGraphDef& meta, const std::string& name) {
  constexpr size_t kShown = 16;
  const std::string wanted = name.empty() ? "serving_default" : name;
  if (meta.signature_def().contains(wanted)) return wanted;
  std::vector<std::string> names;
  for (const auto& [key, signature] : meta.signature_def()) {
    if (key != kInitSignature) names.push_back(key);
  }
  std::ranges::sort(names);
  if (name.empty() && names.size() == 1) return names.front();
  if (names.empty()) return Status(StatusCode::kBadData, "the graph has no signature");
  if (names.size() > kShown) names.resize(kShown);
  return Status(StatusCode::kBadData,
                fmt::format("expected the signature {}, found {}; choose with --signature", wanted,
                            fmt::join(names, ", ")));
}

}  // namespace nacre
