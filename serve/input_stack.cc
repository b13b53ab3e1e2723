#include "serve/input_stack.h"

namespace nacre {
namespace {

struct InputStack {
  std::unique_ptr<float[]> memory;
  size_t used = 0;
};

thread_local InputStack stack;

}  // namespace

StackedInputs::StackedInputs(size_t floats) {
  if (floats > kInputStackFloats - stack.used) {
    own_ = std::make_unique_for_overwrite<float[]>(floats);
    floats_ = {own_.get(), floats};
    return;
  }
  if (stack.memory == nullptr) stack.memory = std::make_unique_for_overwrite<float[]>(kInputStackFloats);
  floats_ = {stack.memory.get() + stack.used, floats};
  stack.used += floats;
}

StackedInputs::~StackedInputs() {
  if (own_ == nullptr) stack.used -= floats_.size();
}

}  // namespace nacre
