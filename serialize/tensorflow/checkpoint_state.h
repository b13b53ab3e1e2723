#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/status.h"
#include "serialize/file_system.h"

namespace nacre {

/// The largest `checkpoint` file, in bytes.
inline constexpr size_t kMaxCheckpointStateBytes = size_t{1} << 20;

/// What TensorFlow keeps in the file `checkpoint` of a folder, a CheckpointState in protobuf's text format:
/// the prefixes of its checkpoints, absolute or relative to the folder.
struct CheckpointState {
  std::string latest;
  std::vector<std::string> all;  ///< oldest first

  [[nodiscard]] bool operator==(const CheckpointState&) const = default;
};

/// Reads the text. Fields that nacre has no use for are passed over if they are numbers, words or texts.
/// kCorrupt, with the line, for what is no such text or names no latest checkpoint.
Result<CheckpointState> parse_checkpoint_state(std::string_view text);

/// The text, which parse_checkpoint_state and TensorFlow read back.
std::string checkpoint_state_text(const CheckpointState& state);

/// The prefix of the latest checkpoint of a folder with a file `checkpoint`: FOLDER/NAME. A path that leads
/// out of the folder, such as an absolute one written before the folder was moved, stands for the file of its
/// name in the folder. Errors are `FILE: reason`: kIo, kLimit, kCorrupt (a file `checkpoint` outside the
/// folder too: check_within_folder).
Result<std::string> latest_tf_checkpoint(const std::string& folder);

/// What the folder's file `checkpoint` must say once the checkpoint `prefix` is in its folder: itself, as the
/// latest and last one, after those that the file says already.
Result<CheckpointState> state_with_checkpoint(const std::string& prefix);

/// Writes the file `checkpoint` of a folder (AtomicFile).
Status write_checkpoint_state(const std::string& folder, const CheckpointState& state,
                              FileSystem& file_system = real_file_system());

}  // namespace nacre
