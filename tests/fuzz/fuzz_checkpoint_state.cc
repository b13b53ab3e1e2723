// libFuzzer target: any text as TensorFlow's file `checkpoint`.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "serialize/tensorflow/checkpoint_state.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto state = nacre::parse_checkpoint_state(text);
  if (!state.ok()) {
    if (!state.status().message().starts_with("line ")) std::abort();
    return 0;
  }
  const auto again = nacre::parse_checkpoint_state(nacre::checkpoint_state_text(*state));
  if (!again.ok() || !(*again == *state)) std::abort();
  return 0;
}
