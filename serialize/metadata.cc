#include "serialize/metadata.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/graph.h"
#include "serialize/checksum.h"
#include "serialize/utf8.h"

namespace nacre {
namespace {

constexpr int64_t kMaxImageSide = 1 << 16;

Status corrupt(std::string reason) {
  return Status(StatusCode::kCorrupt, std::move(reason));
}

/// A name for messages: what is no plain text is not shown as it is.
std::string shown(std::string_view name) {
  constexpr size_t kMost = 80;
  std::string result;
  for (const char c : name.substr(0, kMost)) result += c >= 0x20 && c < 0x7f ? c : '?';
  return "'" + result + (name.size() > kMost ? "...'" : "'");
}

std::string_view view(const flatbuffers::String& text) {
  return {text.c_str(), text.size()};
}

bool is_variable_name(std::string_view name) {
  if (name.size() > kMaxNameBytes) return false;
  while (true) {
    const size_t slash = name.find('/');
    if (!is_valid_name(name.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    name.remove_prefix(slash + 1);
  }
}

bool is_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

/// An enumeration whose values are 0 to `last`.
template <typename E>
Status read_enum(uint8_t from, E last, std::string_view what, E& to) {
  if (from > static_cast<uint8_t>(last)) {
    return Status(StatusCode::kUnsupported, fmt::format("the input contract's {} is {}; known are 0 to {}",
                                                        what, from, static_cast<int>(last)));
  }
  to = static_cast<E>(from);
  return {};
}

}  // namespace

std::string place(std::string_view what, size_t index) {
  return fmt::format("{} {}", what, index);
}

Status MetadataReader::spend(size_t bytes, std::string_view what) {
  if (bytes > left_) {
    return Status(
        StatusCode::kLimit,
        fmt::format("the metadata unfolds to more than its own size (at {}): its texts are shared", what));
  }
  left_ -= bytes;
  return {};
}

Status MetadataReader::text(const flatbuffers::String& from, std::string_view what, std::string& to) {
  // Its reference, its length and its terminator are bytes of the file too.
  NACRE_RETURN_IF_ERROR(spend(2 * sizeof(uint32_t) + from.size() + 1, what));
  to = view(from);
  if (!is_utf8(to)) return corrupt(fmt::format("{} is not UTF-8", what));
  if (to.find('\0') != std::string::npos) return corrupt(fmt::format("{} holds a NUL", what));
  return {};
}

Status MetadataReader::line(const flatbuffers::String& from, std::string_view what, std::string& to) {
  NACRE_RETURN_IF_ERROR(text(from, what, to));
  const auto is_control = [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; };
  if (std::ranges::any_of(to, is_control)) return corrupt(fmt::format("{} holds a control character", what));
  return {};
}

Status MetadataReader::name(const flatbuffers::String& from, std::string_view what, std::string& to) {
  if (!is_valid_name(view(from))) {
    return corrupt(
        fmt::format("{} has the name {}; expected 1 to 255 letters, digits, '_', '-' or '.', not '.' first",
                    what, shown(view(from))));
  }
  return text(from, what, to);
}

Status MetadataReader::variable_name(const flatbuffers::String& from, std::string_view what,
                                     std::string& to) {
  if (!is_variable_name(view(from))) {
    return corrupt(fmt::format("{} has the name {}; expected names such as conv1/kernel, at most {} bytes",
                               what, shown(view(from)), kMaxNameBytes));
  }
  return text(from, what, to);
}

Result<std::vector<TensorEntry>> read_tensor_table(const TensorTable& table, uint64_t blob_bytes,
                                                   MetadataReader& reader) {
  std::vector<TensorEntry> entries;
  uint64_t end = 0;
  for (flatbuffers::uoffset_t i = 0; i < table.size(); ++i) {
    const fb::Tensor& tensor = *table.Get(i);
    TensorEntry entry;
    NACRE_RETURN_IF_ERROR(reader.variable_name(*tensor.name(), place("tensor", i), entry.name));
    if (!entries.empty() && entries.back().name == entry.name) {
      return corrupt(fmt::format("two tensors have the name '{}'", entry.name));
    }
    if (!entries.empty() && entries.back().name > entry.name) {
      return corrupt(fmt::format("tensor '{}' comes after '{}': not in the order of names", entry.name,
                                 entries.back().name));
    }
    const std::string what = fmt::format("tensor '{}'", entry.name);
    if (tensor.dtype() != fb::DType::Float32) {
      return Status(StatusCode::kUnsupported, fmt::format("{} has the element type {}; known is 1 (float32)",
                                                          what, static_cast<int>(tensor.dtype())));
    }
    std::vector<int64_t> dims;
    NACRE_RETURN_IF_ERROR(reader.list(*tensor.dims(), what, dims));
    auto shape = Shape::make(dims);
    if (!shape.ok()) return corrupt(fmt::format("{}: {}", what, shape.status().message()));
    entry.shape = *shape;
    // Shape::make keeps the elements under 2^48.
    entry.bytes = static_cast<uint64_t>(entry.shape.num_elements()) * sizeof(float);
    entry.offset = tensor.offset();
    entry.checksum = tensor.checksum();
    if (entry.offset % kAlignment != 0) {
      return corrupt(fmt::format("{} begins at {}, not a multiple of {}", what, entry.offset, kAlignment));
    }
    if (entry.offset > blob_bytes || align_up(entry.bytes) > blob_bytes - entry.offset) {
      return corrupt(fmt::format("{} ends past the end: {} bytes at {} of {}", what, entry.bytes,
                                 entry.offset, blob_bytes));
    }
    if (entry.offset < end) return corrupt(fmt::format("{} overlaps the tensor before it", what));
    if (entry.offset > end) {
      return corrupt(fmt::format("{} leaves a hole of {} bytes before it", what, entry.offset - end));
    }
    end = entry.offset + align_up(entry.bytes);
    entries.push_back(std::move(entry));
  }
  if (end != blob_bytes)
    return corrupt(fmt::format("{} bytes after the last tensor belong to none", blob_bytes - end));
  return entries;
}

Result<VariableStore> bind_tensors(const std::vector<TensorEntry>& entries, std::span<const std::byte> blobs,
                                   const std::shared_ptr<void>& keep_alive) {
  VariableStore store;
  for (const TensorEntry& entry : entries) {
    const auto padded = blobs.subspan(entry.offset, align_up(entry.bytes));
    if (xxh3(padded) != entry.checksum) {
      return corrupt(fmt::format("is damaged: the checksum of tensor '{}' differs", entry.name));
    }
    if (!is_zero(padded.subspan(entry.bytes))) {
      return corrupt(fmt::format("has padding after tensor '{}' that is not zero", entry.name));
    }
    const auto* elements = reinterpret_cast<const float*>(padded.data());
    NACRE_RETURN_IF_ERROR(store.add(entry.name, Tensor(entry.shape, elements, keep_alive)));
  }
  return store;
}

std::vector<std::span<const std::byte>> tensor_blobs(const VariableStore& variables) {
  std::vector<std::span<const std::byte>> blobs;
  for (const auto& [name, tensor] : variables.tensors()) {
    blobs.push_back(std::as_bytes(std::span(tensor.data(), static_cast<size_t>(tensor.size()))));
  }
  return blobs;
}

uint64_t padded_bytes(const VariableStore& variables) {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : variables.tensors()) {
    bytes += align_up(static_cast<size_t>(tensor.size()) * sizeof(float));
  }
  return bytes;
}

flatbuffers::Offset<TensorTable> write_tensor_table(flatbuffers::FlatBufferBuilder& builder,
                                                    const VariableStore& variables) {
  std::vector<flatbuffers::Offset<fb::Tensor>> tensors;
  uint64_t offset = 0;
  for (const auto& [name, tensor] : variables.tensors()) {
    const auto bytes = std::as_bytes(std::span(tensor.data(), static_cast<size_t>(tensor.size())));
    const auto dims = tensor.shape().dims();
    tensors.push_back(fb::CreateTensor(builder, builder.CreateString(name), fb::DType::Float32,
                                       builder.CreateVector(dims.data(), dims.size()), offset,
                                       padded_xxh3(bytes)));
    offset += align_up(bytes.size());
  }
  return builder.CreateVector(tensors);
}

Result<InputContract> read_contract(const fb::InputContract& contract, MetadataReader& reader) {
  InputContract result;
  result.height = contract.height();
  result.width = contract.width();
  result.channels = contract.channels();
  result.scale = contract.scale();
  if (result.height < 1 || result.height > kMaxImageSide || result.width < 1 ||
      result.width > kMaxImageSide) {
    return corrupt(fmt::format("the input contract's size is {} x {}; expected 1 to {} each way",
                               result.height, result.width, kMaxImageSide));
  }
  if (result.channels != 1 && result.channels != 3) {
    return corrupt(fmt::format("the input contract has {} channels; expected 1 or 3", result.channels));
  }
  if (!std::isfinite(result.scale) || result.scale <= 0.0F) {
    return corrupt(fmt::format("the input contract's scale is {}; expected a positive number", result.scale));
  }
  NACRE_RETURN_IF_ERROR(read_enum(contract.jpeg_dct(), JpegDct::kFast, "jpeg_dct", result.jpeg_dct));
  NACRE_RETURN_IF_ERROR(read_enum(contract.exif(), ExifPolicy::kApply, "exif", result.exif));
  NACRE_RETURN_IF_ERROR(read_enum(contract.resize(), ResizePolicy::kExact, "resize", result.resize));
  const auto& labels = *contract.labels();
  for (flatbuffers::uoffset_t i = 0; i < labels.size(); ++i) {
    NACRE_RETURN_IF_ERROR(reader.line(*labels.Get(i), place("label", i), result.labels.emplace_back()));
  }
  return result;
}

flatbuffers::Offset<fb::InputContract> write_contract(flatbuffers::FlatBufferBuilder& builder,
                                                      const InputContract& contract) {
  const auto labels = builder.CreateVectorOfStrings(contract.labels);
  return fb::CreateInputContract(builder, contract.height, contract.width, contract.channels,
                                 static_cast<uint8_t>(contract.jpeg_dct), static_cast<uint8_t>(contract.exif),
                                 static_cast<uint8_t>(contract.resize), contract.scale, labels);
}

Status check_before_write(size_t bytes, const VariableStore& variables) {
  for (const auto& [name, tensor] : variables.tensors()) {
    if (tensor.data() == nullptr && tensor.size() > 0) {
      return Status(StatusCode::kInternal, fmt::format("tensor '{}' has no elements in memory", name));
    }
    bytes += name.size();
  }
  if (bytes > kMaxMetadataBytes) {
    return Status(StatusCode::kLimit,
                  fmt::format("would have more than {} bytes of metadata, the limit", kMaxMetadataBytes));
  }
  return {};
}

size_t text_bytes(const InputContract& contract) {
  size_t bytes = 0;
  for (const std::string& label : contract.labels) bytes += label.size() + 2 * sizeof(uint32_t);
  return bytes;
}

Status as_write_error(const Status& status) {
  const bool ours = status.code() == StatusCode::kCorrupt || status.code() == StatusCode::kUnsupported;
  return ours ? Status(StatusCode::kBadData, "cannot be written: " + status.message()) : status;
}

}  // namespace nacre
