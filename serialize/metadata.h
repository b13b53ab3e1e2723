#pragma once

#include <flatbuffers/flatbuffers.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/input_contract.h"
#include "engine/status.h"
#include "engine/variable_store.h"
#include "schemas/common_generated.h"
#include "serialize/container.h"

namespace nacre {

// Reading and writing of what the metadata of checkpoints and bundles have in common. The readers get tables
// that flatbuffers::Verifier has passed and check all that it does not. Their errors do not name the file.

/// The most tables in one file's metadata.
inline constexpr uint32_t kMaxTables = 1000000;
/// The longest name, in bytes.
inline constexpr size_t kMaxNameBytes = 1024;

/// Runs flatbuffers::Verifier, with tight limits, over metadata whose root is a T. Null when it fails.
template <typename T>
const T* verified_root(std::span<const std::byte> metadata, const char* identifier) {
  flatbuffers::Verifier::Options limits;
  limits.max_depth = 8;
  limits.max_tables = kMaxTables;
  const auto* data = reinterpret_cast<const uint8_t*>(metadata.data());
  flatbuffers::Verifier verifier(data, metadata.size(), limits);
  return verifier.VerifyBuffer<T>(identifier) ? flatbuffers::GetRoot<T>(data) : nullptr;
}

/// A position in the metadata, for messages: "tensor 3".
std::string place(std::string_view what, size_t index);

/// Copies texts and lists out of the metadata, counting bytes: FlatBuffers lets many references share one
/// string, so that a small file could unfold to terabytes. nacre never writes such a file, hence all that is
/// copied must fit into the metadata's own size (kLimit).
class MetadataReader {
 public:
  explicit MetadataReader(size_t metadata_bytes) : left_(metadata_bytes) {}

  /// UTF-8 without NUL.
  Status text(const flatbuffers::String& from, std::string_view what, std::string& to);
  /// The same without control characters.
  Status line(const flatbuffers::String& from, std::string_view what, std::string& to);
  /// 1 to 255 letters, digits, '_', '-' and '.', not starting with '.' (is_valid_name).
  Status name(const flatbuffers::String& from, std::string_view what, std::string& to);
  /// Names joined by '/', at most kMaxNameBytes: "conv1/kernel".
  Status variable_name(const flatbuffers::String& from, std::string_view what, std::string& to);

  template <typename T>
  Status list(const flatbuffers::Vector<T>& from, std::string_view what, std::vector<T>& to) {
    NACRE_RETURN_IF_ERROR(spend(sizeof(uint32_t) + from.size() * sizeof(T), what));
    to.assign(from.begin(), from.end());
    return {};
  }

  /// Counts bytes that are copied otherwise.
  Status spend(size_t bytes, std::string_view what);

 private:
  size_t left_;
};

/// A line of the table of tensors.
struct TensorEntry {
  std::string name;
  Shape shape;
  uint64_t offset;
  uint64_t bytes;  ///< without padding
  uint64_t checksum;
};

using TensorTable = flatbuffers::Vector<flatbuffers::Offset<fb::Tensor>>;

/// Checks the table: names, types, shapes, and that the tensors fill `blob_bytes` in order without overlap or
/// hole.
Result<std::vector<TensorEntry>> read_tensor_table(const TensorTable& table, uint64_t blob_bytes,
                                                   MetadataReader& reader);

/// Checks checksum and padding of every tensor and makes them refer to `blobs`, which `keep_alive` owns.
Result<VariableStore> bind_tensors(const std::vector<TensorEntry>& entries, std::span<const std::byte> blobs,
                                   const std::shared_ptr<void>& keep_alive);

/// Writes the table for tensors that lie one after the other in the store's order.
flatbuffers::Offset<TensorTable> write_tensor_table(flatbuffers::FlatBufferBuilder& builder,
                                                    const VariableStore& variables);

/// The bytes of every tensor, in the store's order.
std::vector<std::span<const std::byte>> tensor_blobs(const VariableStore& variables);
/// What they take in a file.
uint64_t padded_bytes(const VariableStore& variables);

Result<InputContract> read_contract(const fb::InputContract& contract, MetadataReader& reader);
flatbuffers::Offset<fb::InputContract> write_contract(flatbuffers::FlatBufferBuilder& builder,
                                                      const InputContract& contract);

/// Checks, before anything is built, that texts of `bytes` fit into the metadata (kLimit), and that every
/// tensor has its elements (kInternal).
Status check_before_write(size_t bytes, const VariableStore& variables);
/// The bytes of the contract's texts.
size_t text_bytes(const InputContract& contract);

/// What a file's reader says of content that is about to be written, as an error of the caller's.
Status as_write_error(const Status& status);

}  // namespace nacre
