// libFuzzer target: any bytes as a PredictRequest's or a ClassificationRequest's, up to the images and floats
// in it.
#include <google/protobuf/stubs/logging.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "schemas/tensorflow/inference.pb.h"
#include "serve/grpc/examples.h"
#include "serve/grpc/tensor.h"

namespace {

/// Reads every byte, so that a span that points elsewhere is noticed.
void touch(const std::vector<nacre::EncodedImage>& images) {
  unsigned sum = 0;
  for (const nacre::EncodedImage& image : images)
    for (const std::byte byte : image) sum += std::to_integer<unsigned>(byte);
  const volatile unsigned sink = sum;
  static_cast<void>(sink);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Texts that are no UTF-8 are told on stderr otherwise.
  [[maybe_unused]] static const auto told = google::protobuf::SetLogHandler(nullptr);
  tensorflow::serving::PredictRequest predict;
  if (predict.ParseFromArray(data, static_cast<int>(size))) {
    for (const auto& [name, tensor] : predict.inputs()) {
      const auto strings = nacre::read_strings(tensor, name);
      if (strings.ok()) touch(*strings);
      for (const auto type : {tensorflow::DT_FLOAT, tensorflow::DT_UINT8}) {
        const auto numbers = nacre::read_numbers(tensor, type, std::array<int64_t, 3>{4, 4, 1}, name);
        if (numbers.ok() && numbers->size() != 16 * static_cast<size_t>(tensor.tensor_shape().dim(0).size()))
          std::abort();
      }
    }
  }
  tensorflow::serving::ClassificationRequest classify;
  if (classify.ParseFromArray(data, static_cast<int>(size))) {
    const auto images = nacre::input_images(classify.input());
    if (images.ok()) touch(*images);
  }
  return 0;
}
