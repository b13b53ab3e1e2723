// libFuzzer target: any bytes as saved_model.pb, without variables; the seeds hold constants in their place.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "layers/registry.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "serialize/tensorflow/saved_model_summary.h"

namespace {

std::string make_folder() {
  std::string name = (std::filesystem::temp_directory_path() / "nacre_fuzz_XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) std::abort();
  return name;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string folder = make_folder();
  static const nacre::Registry registry = nacre::builtin_ops();
  std::ofstream(folder + "/saved_model.pb", std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  nacre::ImportOptions options;
  for (const int64_t side : {0, 8}) {
    options.height = options.width = side;
    const nacre::Status status = nacre::import_saved_model(folder, options, registry).status();
    if (!status.ok() && status.message().empty()) std::abort();
  }
  const nacre::Status status = nacre::summarize_saved_model(folder).status();
  if (!status.ok() && status.message().empty()) std::abort();
  return 0;
}
