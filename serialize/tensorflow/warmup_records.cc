#include "serialize/tensorflow/warmup_records.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "engine/file.h"
#include "engine/graph.h"
#include "schemas/tensorflow/predict.pb.h"
#include "serialize/tensorflow/deterministic_bytes.h"
#include "serialize/tensorflow/saved_model_graph.h"
#include "serialize/tensorflow/saved_model_writer.h"
#include "serialize/tensorflow/tf_record.h"
#include "serialize/tensorflow/within_folder.h"

namespace nacre {
namespace {

constexpr size_t kMaxWarmupBytes = size_t{64} << 20;

const std::string kImage(kImageKey);
const std::string kAnswer(kPredictionName);

/// Nothing when the record is no request of one image with its answer.
std::optional<GoldenVector> golden_of(const tensorflow::serving::PredictLog& log) {
  const auto image = log.request().inputs().find(kImage);
  const auto answer = log.response().outputs().find(kAnswer);
  if (log.request().model_spec().signature_name() != kEncodedSignature ||
      image == log.request().inputs().end() || answer == log.response().outputs().end()) {
    return std::nullopt;
  }
  if (image->second.string_val_size() != 1 || answer->second.float_val_size() == 0) return std::nullopt;
  GoldenVector golden;
  const std::string& bytes = image->second.string_val(0);
  const auto* first = reinterpret_cast<const std::byte*>(bytes.data());
  golden.image.assign(first, first + bytes.size());
  golden.prediction.assign(answer->second.float_val().begin(), answer->second.float_val().end());
  return golden;
}

}  // namespace

Result<std::string> warmup_records(const std::vector<GoldenVector>& all) {
  std::string file;
  for (const GoldenVector& golden : all) {
    tensorflow::serving::PredictionLog log;
    auto& request = *log.mutable_predict_log()->mutable_request();
    request.mutable_model_spec()->set_signature_name(std::string(kEncodedSignature));
    tensorflow::TensorProto& image = (*request.mutable_inputs())[kImage];
    image.set_dtype(tensorflow::DT_STRING);
    image.mutable_tensor_shape()->add_dim()->set_size(1);
    image.add_string_val(golden.image.data(), golden.image.size());
    auto& response = *log.mutable_predict_log()->mutable_response();
    tensorflow::TensorProto& answer = (*response.mutable_outputs())[kAnswer];
    answer.set_dtype(tensorflow::DT_FLOAT);
    answer.mutable_tensor_shape()->add_dim()->set_size(1);
    answer.mutable_tensor_shape()->add_dim()->set_size(static_cast<int64_t>(golden.prediction.size()));
    answer.mutable_float_val()->Assign(golden.prediction.begin(), golden.prediction.end());
    NACRE_ASSIGN_OR_RETURN(const std::string record, deterministic_bytes(log, kWarmupFile));
    append_tf_record(file, record);
  }
  return file;
}

Result<std::vector<GoldenVector>> read_warmup_records(const std::string& saved_model) {
  const std::string path = fmt::format("{}/{}/{}", saved_model, kExtraFolder, kWarmupFile);
  std::vector<GoldenVector> all;
  std::error_code error;
  if (!std::filesystem::exists(std::filesystem::symlink_status(path, error))) return all;
  NACRE_RETURN_IF_ERROR(check_within_folder(path, saved_model));
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(path, kMaxWarmupBytes));
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (int number = 1; !rest.empty(); ++number) {
    const auto record = take_tf_record(rest);
    tensorflow::serving::PredictionLog log;
    if (!record.has_value() || !log.ParseFromArray(record->data(), static_cast<int>(record->size()))) {
      return Status(StatusCode::kCorrupt, fmt::format("{}: record {} is damaged", path, number));
    }
    auto golden = golden_of(log.predict_log());
    if (!golden.has_value()) continue;
    golden->name = fmt::format("record {}", number);
    all.push_back(std::move(*golden));
  }
  return all;
}

}  // namespace nacre
