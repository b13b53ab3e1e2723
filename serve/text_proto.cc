#include "serve/text_proto.h"

#include <fmt/format.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <vector>

#include "engine/file.h"

namespace nacre {
namespace {

/// Nested messages; no configuration has more than a few.
constexpr int kMaxDepth = 32;

class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (text_.empty()) text_ = fmt::format("{}:{}: {}", line + 1, column + 1, message);
  }
  void AddWarning(int /*line*/, int /*column*/, const std::string& /*message*/) override {}
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace

Status read_text_proto(const std::string& path, google::protobuf::Message& message) {
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(path, kMaxTextProtoBytes));
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  google::protobuf::TextFormat::Parser parser;
  FirstError error;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kMaxDepth);
  if (parser.ParseFromString(text, &message)) return {};
  return {StatusCode::kBadData,
          path + ":" +
              (error.text().empty() ? " is no " + message.GetTypeName() + " in text form" : error.text())};
}

}  // namespace nacre
