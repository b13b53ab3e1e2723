#include "serialize/tensorflow/event_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "schemas/tensorflow/event.pb.h"
#include "serialize/append_file.h"
#include "serialize/tensorflow/tf_record.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;
namespace tf = tensorflow;

constexpr size_t kBuckets = 30;

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The seconds in the name of the newest event file of `folder`; 0 when there is none. TensorBoard reads
/// files in the order of their names.
int64_t newest_file(const std::string& folder) {
  int64_t newest = 0;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(kEventFilePrefix)) continue;
    int64_t seconds = 0;
    std::from_chars(name.data() + kEventFilePrefix.size(), name.data() + name.size(), seconds);
    newest = std::max(newest, seconds);
  }
  return newest;
}

tf::Event event_at(int64_t step) {
  tf::Event event;
  event.set_wall_time(seconds_since_1970());
  event.set_step(step);
  return event;
}

}  // namespace

struct EventWriter::State {
  explicit State(AppendFile opened) : file(std::move(opened)) {}

  void add(const tf::Event& event) {
    std::string record;
    append_tf_record(record, event.SerializeAsString());
    file.add(record);
  }

  /// An event with one value that `plugin` shows; its tensor is for the caller to fill, see add().
  static std::pair<tf::Event, tf::TensorProto*> value(std::string_view tag, int64_t step, const char* plugin,
                                                      tf::DataClass data_class, tf::DataType type) {
    std::pair<tf::Event, tf::TensorProto*> result{event_at(step), nullptr};
    tf::Summary::Value* value = result.first.mutable_summary()->add_value();
    value->set_tag(std::string(tag));
    value->mutable_metadata()->mutable_plugin_data()->set_plugin_name(plugin);
    value->mutable_metadata()->set_data_class(data_class);
    result.second = value->mutable_tensor();
    result.second->set_dtype(type);
    result.second->mutable_tensor_shape();
    return result;
  }

  AppendFile file;
};

EventWriter::EventWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
EventWriter::~EventWriter() = default;

Result<std::unique_ptr<EventWriter>> EventWriter::open(const std::string& folder, int64_t step) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Status(StatusCode::kIo, folder + ": " + error.message());
  const int64_t seconds =
      std::max(static_cast<int64_t>(seconds_since_1970()), newest_file(folder) + int64_t{1});
  // No name of the machine is in it, unlike TensorFlow's: a run folder is handed on.
  const std::string path =
      fmt::format("{}/{}{:010}.nacre.{}.0.v2", folder, kEventFilePrefix, seconds, ::getpid());
  NACRE_ASSIGN_OR_RETURN(AppendFile file, AppendFile::open(path, AppendFile::Open::kNewOnly));
  auto state = std::make_unique<State>(std::move(file));
  tf::Event version = event_at(0);
  version.set_file_version("brain.Event:2");
  version.mutable_source_metadata()->set_writer("nacre");
  state->add(version);
  if (step > 0) {
    tf::Event start = event_at(step + 1);
    start.mutable_session_log()->set_status(tf::SessionLog::START);
    state->add(start);
  }
  std::unique_ptr<EventWriter> writer(new EventWriter(std::move(state)));
  NACRE_RETURN_IF_ERROR(writer->flush());
  return writer;
}

void EventWriter::add_scalar(std::string_view tag, int64_t step, double value) {
  auto [event, tensor] = State::value(tag, step, "scalars", tf::DATA_CLASS_SCALAR, tf::DT_FLOAT);
  tensor->add_float_val(static_cast<float>(value));
  state_->add(event);
}

void EventWriter::add_histogram(std::string_view tag, int64_t step, std::span<const float> values) {
  const std::vector<HistogramBucket> buckets = histogram_of(values);
  auto [event, tensor] = State::value(tag, step, "histograms", tf::DATA_CLASS_TENSOR, tf::DT_DOUBLE);
  tensor->mutable_tensor_shape()->add_dim()->set_size(static_cast<int64_t>(buckets.size()));
  tensor->mutable_tensor_shape()->add_dim()->set_size(3);
  for (const HistogramBucket& bucket : buckets) {
    for (const double x : {bucket.left, bucket.right, bucket.count}) tensor->add_double_val(x);
  }
  state_->add(event);
}

void EventWriter::add_images(std::string_view tag, int64_t step, int64_t width, int64_t height,
                             std::span<const std::vector<std::byte>> pngs) {
  auto [event, tensor] = State::value(tag, step, "images", tf::DATA_CLASS_BLOB_SEQUENCE, tf::DT_STRING);
  tensor->mutable_tensor_shape()->add_dim()->set_size(static_cast<int64_t>(2 + pngs.size()));
  tensor->add_string_val(std::to_string(width));
  tensor->add_string_val(std::to_string(height));
  for (const std::vector<std::byte>& png : pngs) tensor->add_string_val(png.data(), png.size());
  state_->add(event);
}

void EventWriter::add_text(std::string_view tag, int64_t step, std::string_view text) {
  auto [event, tensor] = State::value(tag, step, "text", tf::DATA_CLASS_TENSOR, tf::DT_STRING);
  tensor->add_string_val(text.data(), text.size());
  state_->add(event);
}

Status EventWriter::flush() {
  return state_->file.flush();
}

Status EventWriter::flush_when_due() {
  return state_->file.flush_when_due();
}

std::vector<HistogramBucket> histogram_of(std::span<const float> values) {
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, static_cast<double>(value));
    high = std::max(high, static_cast<double>(value));
  }
  if (low > high) return {};
  if (low == high) {
    // Of a large number 1 may be no difference.
    const double half = std::max(0.5, std::abs(low) * 1e-6);
    low -= half;
    high += half;
  }
  std::vector<HistogramBucket> buckets(kBuckets);
  const double width = (high - low) / static_cast<double>(kBuckets);
  for (size_t i = 0; i < kBuckets; ++i) {
    buckets[i].left = low + width * static_cast<double>(i);
    buckets[i].right = i + 1 < kBuckets ? low + width * static_cast<double>(i + 1) : high;
  }
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    const double place = (static_cast<double>(value) - low) / width;
    ++buckets[std::min(static_cast<size_t>(std::max(place, 0.0)), kBuckets - 1)].count;
  }
  return buckets;
}

}  // namespace nacre
