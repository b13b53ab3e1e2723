#include "train/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <thread>

#include "engine/parallel.h"
#include "tests/train/data_fixture.h"

namespace nacre {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// All there is to know of a batch.
struct Copy {
  std::vector<float> images;
  std::vector<int32_t> labels;
  std::vector<int64_t> samples;
  int64_t epoch;
  int64_t index;
  int64_t first;
  bool last;
  bool operator==(const Copy&) const = default;
};

Copy copy_of(const Batch& batch, int64_t floats) {
  return {{batch.images, batch.images + batch.n * floats},
          {batch.labels, batch.labels + batch.n},
          {batch.samples.begin(), batch.samples.end()},
          batch.epoch,
          batch.index,
          batch.first,
          batch.last_in_epoch};
}

std::unique_ptr<BatchLoader> make(const std::shared_ptr<const Dataset>& data, const LoaderOptions& options) {
  auto loader = BatchLoader::make(data, options);
  EXPECT_TRUE(loader.ok()) << loader.status().message();
  return loader.ok() ? std::move(loader).value() : nullptr;
}

// The next `count` batches, or fewer when the loader ends.
std::vector<Copy> take(BatchLoader& loader, const Dataset& data, int count) {
  std::vector<Copy> batches;
  while (static_cast<int>(batches.size()) < count) {
    const auto batch = loader.next();
    EXPECT_TRUE(batch.ok()) << batch.status().message();
    if (!batch.ok() || *batch == nullptr) break;
    EXPECT_EQ((*batch)->samples.size(), static_cast<size_t>((*batch)->n));
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*batch)->images) % 64, 0U);
    batches.push_back(copy_of(**batch, data.image_floats()));
  }
  return batches;
}

LoaderOptions augmented(int64_t batch_size) {
  LoaderOptions options;
  options.batch_size = batch_size;
  options.seed = 42;
  options.augmentation = {
      .flip = true, .brightness = 0.5F, .contrast = FactorRange{0.2F, 2.0F}, .hue = {}, .saturation = {}};
  return options;
}

TEST(EpochOrder, IsAPermutationOfItsOwnForEveryEpochAndSeed) {
  for (const int64_t size : {1, 2, 3, 100, 1001}) {
    std::vector<int64_t> sorted = epoch_order(size, true, 7, 3);
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(sorted, epoch_order(size, false, 7, 3));
  }
  EXPECT_THAT(epoch_order(4, false, 1, 1), ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(epoch_order(100, true, 7, 3), epoch_order(100, true, 7, 3));
  EXPECT_NE(epoch_order(100, true, 7, 3), epoch_order(100, true, 7, 4));
  EXPECT_NE(epoch_order(100, true, 7, 3), epoch_order(100, true, 8, 3));
}

TEST(EpochOrder, PlacesAreUniform) {
  constexpr int kEpochs = 6000;
  std::array<std::array<int, 5>, 5> counts{};
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const std::vector<int64_t> order = epoch_order(5, true, 1, epoch);
    for (size_t place = 0; place < 5; ++place) ++counts[place][static_cast<size_t>(order[place])];
  }
  for (const auto& row : counts) {
    for (const int count : row) EXPECT_NEAR(count, kEpochs / 5, 155);  // five standard deviations
  }
}

TEST(Loader, OnePassInOrderWithAPartialLastBatch) {
  const auto data = numbered_pictures(7);
  LoaderOptions options;
  options.batch_size = 3;
  options.shuffle = false;
  options.end_epoch = 1;
  const auto loader = make(data, options);
  EXPECT_EQ(loader->batches_per_epoch(), 3);
  const std::vector<Copy> batches = take(*loader, *data, 10);
  ASSERT_EQ(batches.size(), 3U);
  EXPECT_THAT(batches[1].samples, ElementsAre(3, 4, 5));
  EXPECT_THAT(batches[1].labels, ElementsAre(0, 1, 2));
  EXPECT_EQ(batches[1].images[20], 4.0F);
  EXPECT_THAT(batches[2].samples, ElementsAre(6));
  EXPECT_EQ(batches[2].first, 6);
  EXPECT_FALSE(batches[1].last);
  EXPECT_TRUE(batches[2].last);
  const auto after = loader->next();
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(*after, nullptr);
}

TEST(Loader, EveryEpochHoldsEveryImageOnce) {
  const auto data = numbered_pictures(50);
  LoaderOptions options;
  options.batch_size = 8;
  options.end_epoch = 3;
  options.workers = 3;
  const auto loader = make(data, options);
  std::array<std::vector<int64_t>, 3> seen;
  for (const Copy& batch : take(*loader, *data, 100)) {
    auto& epoch = seen[static_cast<size_t>(batch.epoch)];
    EXPECT_EQ(batch.first, static_cast<int64_t>(epoch.size()));
    for (size_t i = 0; i < batch.samples.size(); ++i) {
      EXPECT_EQ(batch.labels[i], batch.samples[i] % 3);
      EXPECT_EQ(batch.images[i * 20 + 19], static_cast<float>(batch.samples[i]));
    }
    epoch.insert(epoch.end(), batch.samples.begin(), batch.samples.end());
  }
  EXPECT_NE(seen[0], seen[1]);
  for (auto& epoch : seen) {
    std::sort(epoch.begin(), epoch.end());
    EXPECT_EQ(epoch, epoch_order(50, false, 0, 0));
  }
}

TEST(Loader, WorkersAndDepthChangeNothing) {
  const auto data = numbered_pictures(61);
  const auto reference = make(data, augmented(20));
  const std::vector<Copy> want = take(*reference, *data, 15);
  for (const int workers : {0, 1, 2, 3, 8}) {
    for (const int depth : {1, 2, 5}) {
      LoaderOptions options = augmented(20);
      options.workers = workers;
      options.depth = depth;
      options.threads = depth;
      const auto loader = make(data, options);
      EXPECT_EQ(take(*loader, *data, 15), want) << workers << " workers, depth " << depth;
    }
  }
  LoaderOptions other_seed = augmented(20);
  other_seed.seed = 43;
  EXPECT_NE(take(*make(data, other_seed), *data, 15), want);
}

TEST(Loader, NobodyIsInTheBackgroundWhenAllThreadsComputeAndNothingIsDecoded) {
  const auto pictures = numbered_pictures(4);
  EXPECT_EQ(loader_workers(*pictures, available_threads()), 0);
  EXPECT_EQ(loader_workers(*pictures, available_threads() - 1), 1);
  const auto part = Dataset::split(pictures, 0.5, 1);
  ASSERT_TRUE(part.ok());
  EXPECT_TRUE(part->validation->in_memory());
  const auto resized = Dataset::from_pixels({1, 2}, 1, 2, 1, {0}, {"a"}, contract_of(3, 3, 1));
  ASSERT_TRUE(resized.ok());
  EXPECT_FALSE((*resized)->in_memory());
  EXPECT_EQ(loader_workers(**resized, available_threads()), 1);
}

TEST(Loader, ResumedSequenceContinues) {
  const auto data = numbered_pictures(25);
  const std::vector<Copy> whole = take(*make(data, augmented(10)), *data, 9);
  for (size_t start = 0; start < whole.size(); ++start) {
    LoaderOptions options = augmented(10);
    options.start_epoch = whole[start].epoch;
    options.start_batch = whole[start].index;
    const std::vector<Copy> rest = take(*make(data, options), *data, static_cast<int>(whole.size() - start));
    EXPECT_EQ(rest, std::vector<Copy>(whole.begin() + static_cast<int64_t>(start), whole.end())) << start;
  }
  LoaderOptions at_end = augmented(10);
  at_end.start_batch = 3;
  EXPECT_EQ(take(*make(data, at_end), *data, 1)[0], whole[3]);
}

TEST(Loader, AugmentationDiffersBetweenEpochsAndIsThatOfTheSample) {
  const auto data = numbered_pictures(3);
  LoaderOptions options = augmented(3);
  options.shuffle = false;
  const std::vector<Copy> epochs = take(*make(data, options), *data, 2);
  ASSERT_EQ(epochs.size(), 2U);
  EXPECT_NE(epochs[0].images, epochs[1].images);
  std::vector<float> want(20);
  ASSERT_TRUE(data->read(2, want.data()).ok());
  augment(options.augmentation, augment_stream(42, 1, 2), want.data(), 4, 5, 1);
  EXPECT_EQ(std::vector<float>(epochs[1].images.begin() + 40, epochs[1].images.end()), want);
}

TEST(Loader, BatchLargerThanTheData) {
  const auto data = numbered_pictures(4);
  for (const int64_t batch_size : {int64_t{5}, int64_t{1} << 62, INT64_MAX}) {
    LoaderOptions options;
    options.batch_size = batch_size;
    options.end_epoch = 2;
    const auto loader = make(data, options);
    EXPECT_EQ(loader->batches_per_epoch(), 1);
    const std::vector<Copy> batches = take(*loader, *data, 10);
    ASSERT_EQ(batches.size(), 2U);
    EXPECT_EQ(batches[0].samples.size(), 4U);
    EXPECT_TRUE(batches[1].last);
  }
}

TEST(Loader, OptionsOutOfRangeAreRefused) {
  const auto data = numbered_pictures(4);
  const auto code = [&](const auto& change) {
    LoaderOptions options;
    change(options);
    return BatchLoader::make(data, options).status().code();
  };
  EXPECT_EQ(code([](LoaderOptions& o) { o.batch_size = 0; }), StatusCode::kUsage);
  EXPECT_EQ(code([](LoaderOptions& o) { o.workers = -1; }), StatusCode::kUsage);
  EXPECT_EQ(code([](LoaderOptions& o) { o.depth = 0; }), StatusCode::kUsage);
  EXPECT_EQ(code([](LoaderOptions& o) { o.start_batch = 2; }), StatusCode::kUsage);
  EXPECT_EQ(code([](LoaderOptions& o) { o.start_epoch = -1; }), StatusCode::kUsage);
  EXPECT_EQ(code([](LoaderOptions& o) { o.augmentation.hue = 0.1F; }), StatusCode::kUsage);
  auto contract = contract_of(1 << 14, 1 << 14, 3);
  const auto huge = Dataset::from_pixels({1, 2, 3}, 1, 1, 1, {0, 0, 0}, {"a"}, contract);
  ASSERT_TRUE(huge.ok()) << huge.status().message();
  EXPECT_EQ(BatchLoader::make(*huge, {}).status().code(), StatusCode::kLimit);
}

TEST(Loader, MayBeDestroyedAtAnyTime) {
  const auto data = numbered_pictures(40);
  for (int round = 0; round < 60; ++round) {
    LoaderOptions options = augmented(16);
    options.workers = round % 5;
    options.end_epoch = round % 3 == 0 ? 1 : -1;
    const auto loader = make(data, options);
    EXPECT_LE(take(*loader, *data, round % 7).size(), 7U);
    if (round % 4 == 0) std::this_thread::yield();
  }
}

class LoaderErrors : public DataTest {};

TEST_F(LoaderErrors, TheFirstBadImageOfABatchIsNamedInItsTurn) {
  std::string list;
  for (int i = 0; i < 30; ++i) {
    const std::string name = std::to_string(i) + ".png";
    write_png(name, pattern_image(3, 3, 1, i));
    list += name + ",c,0\n";
  }
  write("list.csv", list);
  const auto data = Dataset::from_csv(path("list.csv"), contract_of(3, 3, 1));
  ASSERT_TRUE(data.ok()) << data.status().message();
  std::filesystem::remove(path("12.png"));
  write("25.png", "changed");
  for (const int workers : {0, 1, 3}) {
    LoaderOptions options;
    options.batch_size = 10;
    options.shuffle = false;
    options.workers = workers;
    options.threads = 2;
    const auto loader = make(*data, options);
    EXPECT_EQ(take(*loader, **data, 1).size(), 1U);
    for (int again = 0; again < 2; ++again) {
      const auto failed = loader->next();
      ASSERT_FALSE(failed.ok());
      EXPECT_EQ(failed.status().code(), StatusCode::kBadData);
      EXPECT_THAT(failed.status().message(), StartsWith(path("12.png") + ": was deleted"));
    }
    LoaderOptions one_batch = options;
    one_batch.batch_size = 30;
    EXPECT_THAT(make(*data, one_batch)->next().status().message(), HasSubstr("12.png"));
  }
}

}  // namespace
}  // namespace nacre
