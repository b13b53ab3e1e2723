#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "engine/status.h"
#include "engine/tensor.h"
#include "engine/variable_store.h"
#include "serialize/file_system.h"

namespace nacre {

/// A tensor to be written to a bundle: float32 of any shape (elements are borrowed), or a scalar of
/// TensorFlow's type int64 or string (any bytes).
struct BundleItem {
  std::string name;
  std::variant<TensorView<const float>, int64_t, std::string> value;
};

/// Writes TensorFlow's tensor bundle, which is what its V2 checkpoints and the `variables` of a SavedModel
/// are: PREFIX.data-00000-of-00001 with the tensors, one right after the other in the order of their names,
/// then PREFIX.index. Both have the bytes that TensorFlow writes for the same tensors. Items may come in any
/// order.
///
/// Each file appears whole or not at all (serialize/atomic_file.h), the index last, so that a new bundle is
/// there with its index. Two files cannot be replaced at one instant: whoever overwrites a bundle and dies
/// between them leaves new data beside the old index, which readers refuse for its checksums. The index is
/// locked from the start, so a second writer of the same prefix is refused (kLocked). The folder must be
/// there.
///
/// Errors are `path: reason`: kBadData for a name that is empty, too long, holds a NUL or occurs twice;
/// kLimit for a larger index than the reader takes; those of AtomicFile.
Status write_tensor_bundle(const std::string& prefix, std::vector<BundleItem> items, bool overwrite,
                           FileSystem& file_system = real_file_system());

/// The same for all tensors of a store.
Status write_tensor_bundle(const std::string& prefix, const VariableStore& variables, bool overwrite,
                           FileSystem& file_system = real_file_system());

}  // namespace nacre
