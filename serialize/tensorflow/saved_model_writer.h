#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/bundle.h"
#include "engine/op_def.h"
#include "engine/status.h"
#include "serialize/file_system.h"

namespace nacre {

/// The signature of every SavedModel of nacre's that takes encoded images, whatever serving_default takes.
inline constexpr std::string_view kEncodedSignature = "encoded_image";

struct SavedModelOptions {
  /// In place of the loop over a batch: the graph of the classic TF1 workflow, which decodes the first image
  /// of a string placeholder of unknown shape, by TensorFlow's default method, and has no signature classify.
  bool reference = false;
  /// serving_default takes floats [N, height, width, channels] rather than encoded images. Not with
  /// `reference`.
  bool float_default = false;
  bool overwrite = false;  ///< a SavedModel that is there may be replaced
};

/// Writes a SavedModel (docs/tensorflow.md) that TensorFlow loads and serves: saved_model.pb with the
/// network, the input contract and the signatures as a graph; variables/; the labels in assets/; and the
/// bundle's golden vectors in assets.extra/ (warmup_records.h), by which TensorFlow Serving warms up and
/// nacre verifies: with `reference` they have to be answered as that graph decodes; there too the digests of
/// all these files (saved_model_mark.h). The folder appears whole or not at all (serialize/atomic_folder.h).
/// The same bundle gives the same bytes.
///
/// Returns the signatures. Errors are `folder: reason`: kUnsupported for what TensorFlow cannot express (EXIF
/// turning, names that begin with '_' or '-', no variables), kLimit for a graph of too many nodes, and those
/// of Plan and of AtomicFolder.
Result<std::vector<Signature>> write_saved_model(const std::string& folder, const Bundle& bundle,
                                                 const Registry& registry, const SavedModelOptions& options,
                                                 FileSystem& file_system = real_file_system());

}  // namespace nacre
