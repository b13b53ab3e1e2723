#include "serialize/tensorflow/saved_model_writer.h"

#include <fmt/format.h>

#include <utility>

#include "serialize/atomic_folder.h"
#include "serialize/tensorflow/deterministic_bytes.h"
#include "serialize/tensorflow/saved_model_graph.h"
#include "serialize/tensorflow/saved_model_mark.h"
#include "serialize/tensorflow/tensor_bundle_writer.h"
#include "serialize/tensorflow/warmup_records.h"

namespace nacre {
namespace {

// TensorFlow's names.
constexpr const char* kGraphFile = "saved_model.pb";
constexpr const char* kVariablesFolder = "variables";
constexpr const char* kAssetsFolder = "assets";

/// What a SavedModel that is to be replaced may hold; other writers' files too.
std::vector<std::string> saved_model_names() {
  return {kGraphFile,   "saved_model.pbtxt", kVariablesFolder,   kAssetsFolder,
          kExtraFolder, "fingerprint.pb",    "keras_metadata.pb"};
}

std::string lines(const std::vector<std::string>& labels) {
  // Readers take a byte order mark at the beginning for the file's own: a name's needs one before it.
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  std::string text(labels.front().starts_with(kByteOrderMark) ? kByteOrderMark : "");
  for (const std::string& label : labels) text += label + "\n";
  return text;
}

/// The variables of the graph, and no others that the bundle may hold.
std::vector<BundleItem> bundle_items(const SavedModelGraph& graph, const VariableStore& variables) {
  std::vector<BundleItem> items;
  for (const std::string& name : graph.variables) items.push_back({name, variables.find(name)->view()});
  return items;
}

}  // namespace

Result<std::vector<Signature>> write_saved_model(const std::string& folder, const Bundle& bundle,
                                                 const Registry& registry, const SavedModelOptions& options,
                                                 FileSystem& file_system) {
  auto made = make_saved_model(bundle, registry, options);
  if (!made.ok()) return made.status().at(folder);
  SavedModelGraph& graph = made.value();
  auto graph_bytes = deterministic_bytes(graph.model, kGraphFile);
  if (!graph_bytes.ok()) return graph_bytes.status().at(folder);

  NACRE_ASSIGN_OR_RETURN(AtomicFolder out,
                         AtomicFolder::create(folder, saved_model_names(), options.overwrite, file_system));
  NACRE_RETURN_IF_ERROR(out.make_folder(kVariablesFolder));
  const std::string prefix = fmt::format("{0}/{1}/{1}", out.staging(), kVariablesFolder);
  NACRE_RETURN_IF_ERROR(
      write_tensor_bundle(prefix, bundle_items(graph, bundle.variables), false, file_system));
  if (!bundle.contract.labels.empty()) {
    NACRE_RETURN_IF_ERROR(out.make_folder(kAssetsFolder));
    NACRE_RETURN_IF_ERROR(
        out.write_file(fmt::format("{}/{}", kAssetsFolder, kLabelsAsset), lines(bundle.contract.labels)));
  }
  NACRE_RETURN_IF_ERROR(out.make_folder(kExtraFolder));
  if (!bundle.golden.empty()) {
    NACRE_ASSIGN_OR_RETURN(const std::string records, warmup_records(bundle.golden));
    NACRE_RETURN_IF_ERROR(out.write_file(fmt::format("{}/{}", kExtraFolder, kWarmupFile), records));
  }
  NACRE_RETURN_IF_ERROR(out.write_file(kGraphFile, *graph_bytes));
  NACRE_ASSIGN_OR_RETURN(const std::string mark, saved_model_mark(out.staging()));
  NACRE_RETURN_IF_ERROR(out.write_file(fmt::format("{}/{}", kExtraFolder, kMarkFile), mark));
  NACRE_RETURN_IF_ERROR(out.commit());
  return std::move(graph.signatures);
}

}  // namespace nacre
