#include "serialize/checkpoint_file.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "schemas/checkpoint_generated.h"
#include "serialize/container.h"
#include "serialize/metadata.h"

namespace nacre {
namespace {

/// All that the metadata says; the variables are still to be bound to their bytes.
struct Metadata {
  Checkpoint checkpoint;
  std::vector<TensorEntry> tensors;
};

Result<Metadata> read_metadata(std::span<const std::byte> bytes, uint64_t blob_bytes) {
  const auto* root = verified_root<fb::Checkpoint>(bytes, fb::CheckpointIdentifier());
  if (root == nullptr)
    return Status(StatusCode::kCorrupt, "has metadata that is no valid FlatBuffer of a checkpoint");
  MetadataReader reader(bytes.size());
  Metadata result;
  NACRE_ASSIGN_OR_RETURN(result.tensors, read_tensor_table(*root->tensors(), blob_bytes, reader));
  Checkpoint& checkpoint = result.checkpoint;
  NACRE_ASSIGN_OR_RETURN(checkpoint.contract, read_contract(*root->contract(), reader));
  TrainingState& state = checkpoint.state;
  state.step = root->step();
  state.epoch = root->epoch();
  state.batch_in_epoch = root->batch_in_epoch();
  state.seed = root->seed();
  state.best_accuracy = root->best_accuracy();
  state.best_step = root->best_step();
  state.validations_since_best = root->validations_since_best();
  if (!(state.best_accuracy >= -1 && state.best_accuracy <= 1)) {
    return Status(StatusCode::kCorrupt,
                  fmt::format("the best accuracy is {}; expected 0 to 1, or -1", state.best_accuracy));
  }
  NACRE_RETURN_IF_ERROR(reader.line(*root->data_digest(), "the data's digest", state.data_digest));
  NACRE_RETURN_IF_ERROR(reader.text(*root->recipe(), "the recipe", checkpoint.recipe));
  NACRE_RETURN_IF_ERROR(reader.line(*root->nacre_version(), "nacre's version", checkpoint.nacre_version));
  return result;
}

flatbuffers::DetachedBuffer write_metadata(const Checkpoint& checkpoint) {
  flatbuffers::FlatBufferBuilder builder;
  // Defaults are written out, so that -0.0 stays itself and a file says all it means.
  builder.ForceDefaults(true);
  const TrainingState& state = checkpoint.state;
  const auto tensors = write_tensor_table(builder, checkpoint.variables);
  const auto contract = write_contract(builder, checkpoint.contract);
  const auto digest = builder.CreateString(state.data_digest);
  const auto recipe = builder.CreateString(checkpoint.recipe);
  const auto version = builder.CreateString(checkpoint.nacre_version);
  fb::FinishCheckpointBuffer(
      builder, fb::CreateCheckpoint(builder, tensors, contract, state.step, state.epoch, state.batch_in_epoch,
                                    state.seed, digest, state.best_accuracy, state.best_step, recipe, version,
                                    state.validations_since_best));
  return builder.Release();
}

/// The metadata of a checkpoint that the format allows: what the reader would refuse is not written.
Result<flatbuffers::DetachedBuffer> checked_metadata(const Checkpoint& checkpoint) {
  const size_t texts = checkpoint.recipe.size() + checkpoint.state.data_digest.size() +
                       checkpoint.nacre_version.size() + text_bytes(checkpoint.contract);
  NACRE_RETURN_IF_ERROR(check_before_write(texts, checkpoint.variables));
  auto buffer = write_metadata(checkpoint);
  const auto metadata = std::as_bytes(std::span(buffer.data(), buffer.size()));
  NACRE_RETURN_IF_ERROR(as_write_error(read_metadata(metadata, padded_bytes(checkpoint.variables)).status()));
  return buffer;
}

}  // namespace

Status write_checkpoint(const std::string& path, const Checkpoint& checkpoint, bool overwrite,
                        FileSystem& file_system) {
  const auto buffer = checked_metadata(checkpoint);
  if (!buffer.ok()) return buffer.status().at(path);
  return write_container(path, kCheckpointFormat, std::as_bytes(std::span(buffer->data(), buffer->size())),
                         tensor_blobs(checkpoint.variables), overwrite, file_system);
}

Result<std::vector<std::byte>> checkpoint_bytes(const Checkpoint& checkpoint) {
  NACRE_ASSIGN_OR_RETURN(const auto buffer, checked_metadata(checkpoint));
  std::vector<std::byte> bytes;
  NACRE_RETURN_IF_ERROR(
      stream_container(kCheckpointFormat, std::as_bytes(std::span(buffer.data(), buffer.size())),
                       tensor_blobs(checkpoint.variables), [&bytes](std::span<const std::byte> more) {
                         bytes.insert(bytes.end(), more.begin(), more.end());
                         return Status();
                       }));
  return bytes;
}

Result<Checkpoint> parse_checkpoint(std::span<const std::byte> bytes, const std::shared_ptr<void>& keep_alive,
                                    const ReadOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const Container container, parse_container(kCheckpointFormat, bytes, options.depth));
  NACRE_ASSIGN_OR_RETURN(Metadata metadata, read_metadata(container.metadata, container.blobs.size()));
  NACRE_ASSIGN_OR_RETURN(metadata.checkpoint.variables,
                         bind_tensors(metadata.tensors, container.blobs, keep_alive));
  return std::move(metadata.checkpoint);
}

Result<Checkpoint> read_checkpoint(const std::string& path, const ReadOptions& options) {
  NACRE_ASSIGN_OR_RETURN(FileBytes file, open_file(path, options.use_mmap));
  auto checkpoint = parse_checkpoint(file.bytes, file.keep_alive, options);
  if (!checkpoint.ok()) return checkpoint.status().at(path);
  return checkpoint;
}

}  // namespace nacre
