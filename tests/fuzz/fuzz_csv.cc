// libFuzzer target: any text as a CSV list. The first byte chooses the options.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "train/csv.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  std::vector<std::string> labels;
  if ((data[0] & 1U) != 0) labels = {"cat", "dog"};
  nacre::BadRows bad_rows(data[0] >> 1U);
  const nacre::Result<nacre::CsvList> list = nacre::parse_csv(text, "list.csv", labels, bad_rows);
  if (!list.ok()) {
    const std::string message = list.status().message();
    if (!message.starts_with("list.csv:") || message.find('\n') != std::string::npos) std::abort();
  } else {
    const size_t classes = labels.empty() ? list->labels.size() : labels.size();
    if (list->rows.empty() || classes == 0) std::abort();
    for (const nacre::CsvRow& row : list->rows) {
      if (row.label < 0 || static_cast<size_t>(row.label) >= classes || row.file.empty()) std::abort();
    }
  }
  const auto names = nacre::parse_labels(text, "labels.txt");
  if (names.ok() && names->empty()) std::abort();
  return 0;
}
