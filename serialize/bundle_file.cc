#include "serialize/bundle_file.h"

#include <fmt/format.h>

#include <cstdint>
#include <utility>

#include "engine/finite.h"
#include "serialize/bundle_metadata.h"
#include "serialize/checksum.h"
#include "serialize/container.h"
#include "serialize/finite_tensors.h"
#include "serialize/metadata.h"

namespace nacre {
namespace {

Status check_finite(const Bundle& bundle) {
  NACRE_RETURN_IF_ERROR(check_finite(bundle.variables));
  for (const GoldenVector& golden : bundle.golden) {
    if (!all_finite(static_cast<int64_t>(golden.prediction.size()), golden.prediction.data())) {
      return Status(StatusCode::kDiverged,
                    fmt::format("golden vector '{}' holds a value that is NaN or infinite", golden.name));
    }
  }
  return {};
}

/// The bytes of all that may be long.
size_t text_bytes(const Bundle& bundle) {
  size_t bytes = text_bytes(bundle.contract);
  for (const GoldenVector& golden : bundle.golden) {
    bytes += golden.image.size() + golden.prediction.size() * sizeof(float);
  }
  for (const auto& [key, value] : bundle.provenance) bytes += key.size() + value.size();
  for (const Node& node : bundle.graph.nodes()) {
    for (const auto& [name, value] : node.attributes) {
      if (const auto* text = std::get_if<std::string>(&value)) bytes += text->size();
      if (const auto* list = std::get_if<std::vector<int64_t>>(&value))
        bytes += list->size() * sizeof(int64_t);
    }
  }
  return bytes;
}

}  // namespace

Status write_bundle(const std::string& path, const Bundle& bundle, const BundleWriteOptions& options,
                    FileSystem& file_system) {
  NACRE_RETURN_IF_ERROR(check_before_write(text_bytes(bundle), bundle.variables).at(path));
  if (!options.allow_nonfinite) NACRE_RETURN_IF_ERROR(check_finite(bundle).at(path));
  const auto buffer = write_bundle_metadata(bundle);
  const auto metadata = std::as_bytes(std::span(buffer.data(), buffer.size()));
  // What the reader would refuse is not written.
  NACRE_RETURN_IF_ERROR(
      as_write_error(read_bundle_metadata(metadata, padded_bytes(bundle.variables)).status()).at(path));
  return write_container(path, kBundleFormat, metadata, tensor_blobs(bundle.variables), options.overwrite,
                         file_system);
}

uint64_t bundle_checksum(const Bundle& bundle) {
  // The metadata hold the checksums of all tensors.
  const auto metadata = write_bundle_metadata(bundle);
  return xxh3(std::as_bytes(std::span(metadata.data(), metadata.size())));
}

Result<Bundle> parse_bundle(std::span<const std::byte> bytes, const std::shared_ptr<void>& keep_alive,
                            const ReadOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const Container container, parse_container(kBundleFormat, bytes, options.depth));
  NACRE_ASSIGN_OR_RETURN(BundleMetadata metadata,
                         read_bundle_metadata(container.metadata, container.blobs.size()));
  Bundle& bundle = metadata.bundle;
  NACRE_ASSIGN_OR_RETURN(bundle.variables, bind_tensors(metadata.tensors, container.blobs, keep_alive));
  if (!options.allow_nonfinite) NACRE_RETURN_IF_ERROR(check_finite(bundle));
  return std::move(bundle);
}

Result<Bundle> read_bundle(const std::string& path, const ReadOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const FileBytes file, open_file(path, options.use_mmap));
  auto bundle = parse_bundle(file.bytes, file.keep_alive, options);
  if (!bundle.ok()) return bundle.status().at(path);
  return bundle;
}

}  // namespace nacre
