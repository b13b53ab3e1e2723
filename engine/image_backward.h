#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/op_def.h"

namespace nacre {

struct Unit;

/// Neighbouring units [begin, end) of a plan for training whose backward an image goes through from the last
/// to the first before the next image begins: the gradient that one writes is in the second-level cache when
/// the one before reads it, and takes the room of one image for each thread.
struct ImageGroup {
  size_t begin = 0;
  size_t end = 0;
};

/// The longest runs of at least two units that can (Operator::image_chunks), each of which alone reads the
/// output of the one before. Unit::wants_input_gradient must be settled. The choice changes no bit.
std::vector<ImageGroup> choose_image_groups(const std::vector<Unit>& units, int64_t batch);

/// Where the gradients of images are: in one array of all, or in memory of each thread for one image.
template <typename T>
struct ImagePlace {
  T* data = nullptr;        ///< null: they are not wanted
  int64_t image_step = 0;   ///< floats from one image's to the next's
  int64_t thread_step = 0;  ///< and from one thread's

  [[nodiscard]] T* of(int64_t image, int worker) const {
    return data == nullptr ? nullptr : data + image * image_step + worker * thread_step;
  }
};

/// One operator's part of a backward image by image.
struct ImageStage {
  /// All images' gradients are those of `args`.
  static ImageStage of_batch(const Operator& operation, const BackwardArgs<float>& args);

  const Operator* operation;
  BackwardArgs<float> args;
  ImagePlace<const float> grad_output;
  ImagePlace<float> grad_input;
};

/// The backward of `stages`, in that order for every image; chunks of images are shared out to threads.
void backward_by_images(std::span<const ImageStage> stages);

}  // namespace nacre
