#include "image/decode.h"

#include <filesystem>
#include <string>
#include <system_error>

#include "engine/file.h"
#include "image/file_type.h"
#include "image/jpeg.h"
#include "image/peek.h"
#include "image/png.h"

namespace nacre {
namespace {

bool is_there_but_no_file(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(path, ignored);
  return std::filesystem::exists(status) && !std::filesystem::is_regular_file(status);
}

}  // namespace

Result<Image> decode_image(std::span<const std::byte> encoded, const InputContract& contract,
                           const ImageLimits& limits) {
  if (contract.channels != 1 && contract.channels != 3) {
    return Status(
        StatusCode::kUnsupported,
        "the input contract asks for " + std::to_string(contract.channels) + " channels; images have 1 or 3");
  }
  if (encoded.size() > limits.max_encoded_bytes) {
    return Status(StatusCode::kLimit,
                  "is larger than the limit of " + std::to_string(limits.max_encoded_bytes) + " bytes");
  }
  NACRE_RETURN_IF_ERROR(check_image_type(encoded));
  return detect_file_type(encoded).type == FileType::kJpeg ? decode_jpeg(encoded, contract, limits)
                                                           : decode_png(encoded, contract, limits);
}

Status load_image(const std::string& path, const InputContract& contract, float* out,
                  const ImageLimits& limits) {
  const Result<std::vector<std::byte>> bytes = read_file(path, limits.max_encoded_bytes);
  if (!bytes.ok()) {
    // A folder or FIFO in the place of an image is bad data; failing to read is the operating system's
    // refusal.
    Status status = bytes.status();
    if (status.code() == StatusCode::kIo && is_there_but_no_file(path))
      return {StatusCode::kBadData, status.message()};
    return status;
  }
  const Result<Image> image = decode_image(*bytes, contract, limits);
  if (!image.ok()) return image.status().at(path);
  return image_to_input(*image, contract, out).at(path);
}

}  // namespace nacre
