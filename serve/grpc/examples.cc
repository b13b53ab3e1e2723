#include "serve/grpc/examples.h"

#include <fmt/format.h>

#include <string>

#include "serve/servable.h"

namespace nacre {
namespace {

const tensorflow::Feature* image_feature(const tensorflow::Example& example) {
  const auto& features = example.features().feature();
  const auto found = features.find(std::string(kImageFeature));
  return found == features.end() ? nullptr : &found->second;
}

}  // namespace

RpcResult<EncodedImage> example_image(const tensorflow::Example& example,
                                      const tensorflow::Example* context) {
  const tensorflow::Feature* feature = image_feature(example);
  if (feature == nullptr && context != nullptr) feature = image_feature(*context);
  if (feature == nullptr || feature->kind_case() == tensorflow::Feature::KIND_NOT_SET) {
    return RpcStatus(
        RpcCode::kInvalidArgument,
        fmt::format("Feature: {} (data type: string) is required but could not be found.", kImageFeature));
  }
  if (!feature->has_bytes_list()) {
    return RpcStatus(
        RpcCode::kInvalidArgument,
        fmt::format("Feature: {}. Data types don't match. Expected type: string (an encoded image)",
                    kImageFeature));
  }
  if (feature->bytes_list().value_size() != 1) {
    return RpcStatus(
        RpcCode::kInvalidArgument,
        fmt::format("Key: {}. Number of bytes values != expected. Values size: {} but output shape: []",
                    kImageFeature, feature->bytes_list().value_size()));
  }
  return std::as_bytes(std::span(feature->bytes_list().value(0)));
}

RpcResult<std::vector<EncodedImage>> input_images(const tensorflow::serving::Input& input) {
  const bool with_context = input.has_example_list_with_context();
  const auto& examples =
      with_context ? input.example_list_with_context().examples() : input.example_list().examples();
  const tensorflow::Example* context = with_context ? &input.example_list_with_context().context() : nullptr;
  if (examples.empty()) return RpcStatus(RpcCode::kInvalidArgument, "Input is empty.");
  std::vector<EncodedImage> images;
  images.reserve(static_cast<size_t>(examples.size()));
  for (const tensorflow::Example& example : examples) {
    const auto image = example_image(example, context);
    if (!image.ok())
      return RpcStatus(image.status().code(),
                       fmt::format("example {}: {}", images.size(), image.status().message()));
    images.push_back(*image);
  }
  return images;
}

}  // namespace nacre
