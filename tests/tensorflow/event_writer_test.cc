#include "serialize/tensorflow/event_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>

#include "schemas/tensorflow/event.pb.h"
#include "serialize/tensorflow/crc32c.h"
#include "serialize/tensorflow/tf_record.h"
#include "tests/serialize/test_files.h"
#include "tests/tensorflow/record_files.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;
namespace tf = tensorflow;
using testing::ElementsAre;

TEST(TfRecord, KnownBytes) {
  std::string bytes;
  append_tf_record(bytes, "");
  append_tf_record(bytes, "123456789");
  EXPECT_EQ(bytes.size(), 16U + 25U);
  EXPECT_THAT(records_of(bytes), ElementsAre("", "123456789"));
  uint32_t crc = 0;
  std::memcpy(&crc, bytes.data() + 37, 4);
  EXPECT_EQ(crc, ((0xe3069283U >> 15) | (0xe3069283U << 17)) + 0xa282ead8U);
}

class EventWriterTest : public testing::Test {
 protected:
  /// The events of every file of `folder_`/run, in the order of the files' names.
  [[nodiscard]] std::vector<std::vector<tf::Event>> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.file("run")))
      names.push_back(entry.path().string());
    std::sort(names.begin(), names.end());
    std::vector<std::vector<tf::Event>> all;
    for (const std::string& name : names) {
      EXPECT_THAT(fs::path(name).filename().string(), testing::MatchesRegex("events.out.tfevents.[0-9]+.*"));
      const std::string bytes = read_text(name);
      std::vector<tf::Event>& events = all.emplace_back();
      for (const std::string& record : records_of(bytes))
        EXPECT_TRUE(events.emplace_back().ParseFromString(record));
    }
    return all;
  }

  TempFolder folder_;
};

TEST_F(EventWriterTest, EveryKindOfValue) {
  auto writer = EventWriter::open(folder_.file("run"), 0);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  (*writer)->add_scalar("epoch_loss", 3, 0.5);
  (*writer)->add_text("config", 0, "*text*");
  const std::vector<std::vector<std::byte>> pngs{{std::byte{1}, std::byte{0}}, {std::byte{2}}};
  (*writer)->add_images("images", 4, 30, 20, pngs);
  (*writer)->add_histogram("out/kernel/histogram", 5, std::vector<float>{0, 1, 1, 3});
  ASSERT_TRUE((*writer)->flush().ok());

  ASSERT_EQ(files().size(), 1U);
  const std::vector<tf::Event> events = files()[0];
  ASSERT_EQ(events.size(), 5U);
  EXPECT_EQ(events[0].file_version(), "brain.Event:2");
  for (const tf::Event& event : events) EXPECT_GT(event.wall_time(), 1.6e9);
  const auto value = [&](size_t i) -> const tf::Summary::Value& { return events[i].summary().value(0); };
  const auto plugin = [&](size_t i) { return value(i).metadata().plugin_data().plugin_name(); };
  EXPECT_EQ(events[1].step(), 3);
  EXPECT_EQ(value(1).tag(), "epoch_loss");
  EXPECT_EQ(plugin(1), "scalars");
  EXPECT_THAT(value(1).tensor().float_val(), ElementsAre(0.5F));
  EXPECT_EQ(value(1).tensor().tensor_shape().dim_size(), 0);
  EXPECT_EQ(plugin(2), "text");
  EXPECT_THAT(value(2).tensor().string_val(), ElementsAre("*text*"));
  EXPECT_EQ(plugin(3), "images");
  EXPECT_THAT(value(3).tensor().string_val(), ElementsAre("30", "20", std::string("\1\0", 2), "\2"));
  EXPECT_EQ(value(3).tensor().tensor_shape().dim(0).size(), 4);
  EXPECT_EQ(plugin(4), "histograms");
  EXPECT_EQ(value(4).tensor().tensor_shape().dim(0).size(), 30);
  EXPECT_EQ(value(4).tensor().double_val_size(), 90);
}

TEST_F(EventWriterTest, ASecondFileComesAfterTheFirstAndMakesLaterStepsVoid) {
  for (const int64_t step : {0, 70}) {
    auto writer = EventWriter::open(folder_.file("run"), step);
    ASSERT_TRUE(writer.ok()) << writer.status().message();
    (*writer)->add_scalar("batch_loss", step + 1, 1.0);
  }
  const auto all = files();
  ASSERT_EQ(all.size(), 2U);
  ASSERT_EQ(all[0].size(), 2U);
  EXPECT_EQ(all[0][1].step(), 1);
  ASSERT_EQ(all[1].size(), 3U);
  EXPECT_EQ(all[1][1].session_log().status(), tf::SessionLog::START);
  EXPECT_EQ(all[1][1].step(), 71);
  EXPECT_EQ(all[1][2].step(), 71);
}

TEST_F(EventWriterTest, SaysWhatItCannotMake) {
  std::ofstream(folder_.file("run")) << "a file";
  const auto writer = EventWriter::open(folder_.file("run"), 0);
  ASSERT_FALSE(writer.ok());
  EXPECT_EQ(writer.status().code(), StatusCode::kIo);
  EXPECT_THAT(writer.status().message(), testing::StartsWith(folder_.file("run") + ": "));
}

TEST(HistogramOf, CountsEveryFiniteValueOnce) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> values{kInfinity, -kInfinity, std::nanf("")};
  EXPECT_THAT(histogram_of(values), testing::IsEmpty());
  for (int i = 0; i <= 300; ++i) values.push_back(static_cast<float>(i) * 0.1F - 7);
  const std::vector<HistogramBucket> buckets = histogram_of(values);
  ASSERT_EQ(buckets.size(), 30U);
  EXPECT_FLOAT_EQ(static_cast<float>(buckets.back().right), 23);
  double sum = 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    EXPECT_EQ(buckets[i].left, i > 0 ? buckets[i - 1].right : -7);
    EXPECT_NEAR(buckets[i].count, 10, 1);
    sum += buckets[i].count;
  }
  EXPECT_EQ(sum, 301);
}

TEST(HistogramOf, EqualValuesLieInTheMiddle) {
  for (const float x : {0.0F, 2.0F, -3e30F}) {
    const std::vector<HistogramBucket> buckets = histogram_of(std::vector<float>(5, x));
    ASSERT_EQ(buckets.size(), 30U);
    EXPECT_LT(buckets.front().left, x);
    EXPECT_GT(buckets.back().right, x);
    const double sum = std::accumulate(buckets.begin(), buckets.end(), 0.0,
                                       [](double s, const HistogramBucket& b) { return s + b.count; });
    EXPECT_EQ(sum, 5);
    EXPECT_EQ(buckets[14].count + buckets[15].count, 5);
  }
}

}  // namespace
}  // namespace nacre
