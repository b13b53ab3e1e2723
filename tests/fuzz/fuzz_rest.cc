// What a client sends over REST: a line `METHOD TARGET`, and a body of JSON.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "serve/rest/json_request.h"
#include "serve/rest/route.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view line = input.substr(0, input.find('\n'));
  const std::string_view body = input.substr(std::min(line.size() + 1, size));
  const size_t blank = std::min(line.find(' '), line.size());
  const auto route = nacre::route_of(line.substr(0, blank), line.substr(std::min(blank + 1, line.size())));
  if (route.ok() && route->model.version.value_or(0) < 0) std::abort();

  nacre::JsonDocument document;
  if (!document.parse(body).ok()) return 0;
  nacre::InputContract contract;
  contract.height = 2;
  contract.width = 2;
  contract.channels = 3;
  nacre::ImportedSignatures own;
  own.answered.push_back({"levels", "image", "prediction", "uint8", 0.5});
  for (const nacre::ServedSignature& signature : nacre::served_signatures(contract, 1, own)) {
    if (signature.input == nacre::InputForm::kExamples) {
      static_cast<void>(nacre::read_examples(document.root()).ok());
      continue;
    }
    for (const bool only_rows : {false, true}) {
      const auto inputs = nacre::read_predict(document.root(), signature, only_rows);
      if (!inputs.ok()) continue;
      const bool floats = signature.input == nacre::InputForm::kFloat;
      if (inputs->floats.size() != (floats ? inputs->count * 12 : 0)) std::abort();
      if (inputs->encoded.size() != (floats ? 0 : inputs->count)) std::abort();
    }
  }
  return 0;
}
