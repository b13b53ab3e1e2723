#include "train/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <string>
#include <thread>

#include "tests/train/data_fixture.h"

namespace nacre {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::vector<float> read(const Dataset& data, int64_t i) {
  std::vector<float> out(static_cast<size_t>(data.image_floats()), -1.0F);
  const Status status = data.read(i, out.data());
  EXPECT_TRUE(status.ok()) << status.message();
  return out;
}

class CsvDataset : public DataTest {
 protected:
  void SetUp() override {
    DataTest::SetUp();
    write_png("a.png", pattern_image(6, 4, 3, 1));
    write_png("b.png", pattern_image(9, 5, 3, 2));
    write("list.csv", "a.png,cat,0\nb.png,dog,1\n");
  }

  [[nodiscard]] Result<std::shared_ptr<const Dataset>> open(const DatasetOptions& options = {}) const {
    return Dataset::from_csv(path("list.csv"), contract_of(6, 4, 3), options);
  }

  void expect_refused(const std::string& where, const std::string& reason,
                      StatusCode code = StatusCode::kBadData) const {
    const auto data = open();
    ASSERT_FALSE(data.ok()) << reason;
    EXPECT_EQ(data.status().code(), code);
    EXPECT_THAT(data.status().message(), AllOf(StartsWith(path("list.csv") + where), HasSubstr(reason)));
  }
};

TEST_F(CsvDataset, ReadsWhatLoadImageReads) {
  const auto opened = open();
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const Dataset& data = **opened;
  EXPECT_EQ(data.size(), 2);
  EXPECT_THAT(data.labels(), ElementsAre("cat", "dog"));
  EXPECT_THAT(data.contract().labels, ElementsAre("cat", "dog"));
  EXPECT_EQ(data.label(1), 1);
  EXPECT_EQ(data.name(1), path("b.png"));
  for (const int64_t i : {0, 1}) {
    std::vector<float> want(72);
    ASSERT_TRUE(load_image(data.name(i), data.contract(), want.data()).ok());
    EXPECT_EQ(read(data, i), want);
    EXPECT_EQ(read(data, i), want) << "from the cache";
  }
}

TEST_F(CsvDataset, CacheChangesNothingAndKeepsToItsLimit) {
  DatasetOptions none;
  none.cache_bytes = 0;
  const auto cached = open();
  const auto uncached = open(none);
  ASSERT_TRUE(cached.ok() && uncached.ok());
  for (const int64_t i : {0, 1, 0, 1}) EXPECT_EQ(read(**cached, i), read(**uncached, i));
  // What is cached outlives its file; what is not does not.
  std::filesystem::remove(path("a.png"));
  EXPECT_EQ(read(**cached, 0).size(), 72U);
  std::vector<float> out(72);
  EXPECT_FALSE((*uncached)->read(0, out.data()).ok());
}

TEST_F(CsvDataset, ThreadsMayReadAtOnce) {
  const auto data = open();
  const auto reference = open();
  ASSERT_TRUE(data.ok() && reference.ok());
  const std::array<std::vector<float>, 2> want = {read(**reference, 0), read(**reference, 1)};
  std::array<int, 4> wrong{};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      std::vector<float> out(72);
      for (size_t round = 0; round < 50; ++round) {
        const size_t i = (round + t) % 2;
        if (!(*data)->read(static_cast<int64_t>(i), out.data()).ok() || out != want[i]) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

TEST_F(CsvDataset, FilesThatAreMissingOrNoImagesAreNamedWithTheirLine) {
  write("list.csv", "a.png,cat,0\nmissing.png,dog,1\n");
  expect_refused(":2: ", path("missing.png") + ": no such file");
  std::filesystem::create_directory(path("folder"));
  write("list.csv", "folder,dog,0\n");
  expect_refused(":1: ", "is a folder");
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  write("list.csv", "fifo,dog,0\n");
  expect_refused(":1: ", "not a regular file");
  write("empty.png", "");
  write("list.csv", "empty.png,dog,0\n");
  expect_refused(":1: ", "is empty");
  std::filesystem::remove(path("list.csv"));
  expect_refused(": ", "", StatusCode::kIo);
}

TEST_F(CsvDataset, ImageRootAndAbsolutePaths) {
  std::filesystem::create_directory(path("images"));
  std::filesystem::rename(path("a.png"), path("images/a.png"));
  write("list.csv", "a.png,cat,0\n" + path("b.png") + ",dog,1\n");
  DatasetOptions options;
  options.image_root = path("images");
  const auto data = open(options);
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_EQ((*data)->name(0), path("images/a.png"));
  EXPECT_EQ((*data)->name(1), path("b.png"));
}

TEST_F(CsvDataset, SkippedRowsIncludeImagesThatDoNotDecode) {
  write("broken.png", "<html>");
  write("list.csv", "broken.png,cat,0\na.png,cat,0\nmissing.png,dog,1\nb.png,dog,1\nshort\n");
  DatasetOptions options;
  options.skip_bad = 3;
  const auto data = open(options);
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_EQ((*data)->size(), 2);
  EXPECT_EQ((*data)->name(0), path("a.png"));
  EXPECT_EQ((*data)->label(1), 1);
  const std::string list = path("list.csv");
  EXPECT_THAT((*data)->skipped(), ElementsAre(StartsWith(list + ":1: " + path("broken.png")),
                                              StartsWith(list + ":3: "), StartsWith(list + ":5: ")));
  options.skip_bad = 2;
  EXPECT_EQ(open(options).status().code(), StatusCode::kBadData);
  write("list.csv", "broken.png,cat,0\n");
  EXPECT_THAT(open(options).status().message(), HasSubstr("no good image is left"));
}

TEST_F(CsvDataset, ImageDeletedOrChangedAfterOpening) {
  std::vector<float> out(72);
  const auto expect_error = [&](const std::string& reason) {
    const auto data = open();
    ASSERT_TRUE(data.ok());
    if (reason == "deleted") {
      std::filesystem::remove(path("a.png"));
    } else if (reason == "is a folder") {
      std::filesystem::remove(path("a.png"));
      std::filesystem::create_directory(path("a.png"));
    } else {
      write("a.png", "something of another size");
    }
    const Status status = (*data)->read(0, out.data());
    EXPECT_EQ(status.code(), StatusCode::kBadData);
    EXPECT_THAT(status.message(), AllOf(StartsWith(path("a.png") + ": "), HasSubstr(reason)));
  };
  expect_error("changed");
  expect_error("deleted");
  write_png("a.png", pattern_image(6, 4, 3, 1));
  expect_error("is a folder");
}

TEST_F(CsvDataset, ChangedBytesOfTheSameSizeAreNoticed) {
  const auto data = open();
  ASSERT_TRUE(data.ok());
  const auto later = std::filesystem::last_write_time(path("a.png")) + std::chrono::seconds(1);
  std::filesystem::last_write_time(path("a.png"), later);
  std::vector<float> out(72);
  EXPECT_THAT((*data)->read(0, out.data()).message(), HasSubstr("was changed"));
}

TEST_F(CsvDataset, ImageThatDoesNotDecodeIsNamed) {
  write("a.png", "<html>");
  const auto data = open();
  ASSERT_TRUE(data.ok());
  std::vector<float> out(72);
  const Status status = (*data)->read(0, out.data());
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_THAT(status.message(), StartsWith(path("a.png") + ": "));
}

TEST_F(CsvDataset, DigestTellsListsApart) {
  const auto digest = [&] {
    const auto data = open();
    return data.ok() ? (*data)->digest() : data.status().message();
  };
  const std::string original = digest();
  EXPECT_EQ(original.size(), 32U);
  EXPECT_EQ(digest(), original);
  write("list.csv", "b.png,dog,1\na.png,cat,0\n");
  EXPECT_NE(digest(), original) << "order";
  write("list.csv", "a.png,cow,0\nb.png,dog,1\n");
  EXPECT_NE(digest(), original) << "class name";
  write("list.csv", "a.png,dog,1\nb.png,cat,0\n");
  EXPECT_NE(digest(), original) << "labels";
  write("list.csv", "a.png,cat,0\nb.png,dog,1\n");
  EXPECT_EQ(digest(), original);
  write("a.png", "other size");
  EXPECT_NE(digest(), original) << "size";
}

class IdxDataset : public DataTest {
 protected:
  void write_split(const std::string& prefix, const std::vector<uint32_t>& dims, std::string_view pixels,
                   std::string_view labels) const {
    write(prefix + "-images-idx3-ubyte.gz", gzip(idx_bytes(dims, pixels)));
    write(prefix + "-labels-idx1-ubyte", idx_bytes({static_cast<uint32_t>(labels.size())}, labels));
  }
};

TEST_F(IdxDataset, ReadsScaledPixelsOfEachSplit) {
  write_split("train", {2, 1, 2}, std::string("\x00\xff\x33\x66", 4), std::string("\x02\x00", 2));
  write_split("t10k", {1, 1, 2}, "ab", std::string("\x01", 1));
  EXPECT_TRUE(Dataset::has_idx(folder_, IdxSplit::kTrain));
  EXPECT_FALSE(Dataset::has_idx(folder_ + "/none", IdxSplit::kTest));
  const auto train = Dataset::from_idx(folder_, IdxSplit::kTrain, contract_of(1, 2, 1));
  ASSERT_TRUE(train.ok()) << train.status().message();
  EXPECT_THAT((*train)->labels(), ElementsAre("0", "1", "2"));
  EXPECT_EQ((*train)->label(0), 2);
  EXPECT_EQ((*train)->name(1), path("train-images-idx3-ubyte.gz[1]"));
  constexpr float kScale = 1.0F / 255.0F;
  EXPECT_THAT(read(**train, 0), ElementsAre(0.0F, 255.0F * kScale));
  EXPECT_THAT(read(**train, 1), ElementsAre(51.0F * kScale, 102.0F * kScale));
  const auto test = Dataset::from_idx(folder_, IdxSplit::kTest, contract_of(1, 2, 1));
  ASSERT_TRUE(test.ok());
  EXPECT_EQ((*test)->size(), 1);
}

TEST_F(IdxDataset, LabelNamesGivenOrInTheFolder) {
  write_split("train", {1, 1, 1}, "a", std::string("\x01", 1));
  write("labels.txt", "shirt\nboot\ncoat\n");
  const auto from_file = Dataset::from_idx(folder_, IdxSplit::kTrain, contract_of(1, 1, 1));
  ASSERT_TRUE(from_file.ok()) << from_file.status().message();
  EXPECT_THAT((*from_file)->labels(), ElementsAre("shirt", "boot", "coat"));
  DatasetOptions options;
  options.labels = {"only"};
  const auto too_few = Dataset::from_idx(folder_, IdxSplit::kTrain, contract_of(1, 1, 1), options);
  EXPECT_EQ(too_few.status().code(), StatusCode::kBadData);
  EXPECT_THAT(too_few.status().message(), HasSubstr("train-labels-idx1-ubyte[0]: label 1, expected 0 to 0"));
}

TEST_F(IdxDataset, GreyServesColourAndNotTheOtherWay) {
  write_split("train", {1, 1, 2}, std::string("\x01\x02", 2), std::string(1, '\0'));
  auto contract = contract_of(1, 2, 3);
  contract.scale = 1.0F;
  const auto colour = Dataset::from_idx(folder_, IdxSplit::kTrain, contract);
  ASSERT_TRUE(colour.ok()) << colour.status().message();
  EXPECT_THAT(read(**colour, 0), ElementsAre(1.0F, 1.0F, 1.0F, 2.0F, 2.0F, 2.0F));
  write_split("train", {1, 1, 1, 3}, "abc", std::string(1, '\0'));
  const auto grey = Dataset::from_idx(folder_, IdxSplit::kTrain, contract_of(1, 1, 1));
  EXPECT_EQ(grey.status().code(), StatusCode::kBadData);
  EXPECT_THAT(grey.status().message(), HasSubstr("have 3 channels, the network takes 1"));
}

TEST_F(IdxDataset, OtherSizesAreResizedUnlessExact) {
  write_split("train", {1, 3, 3}, "abcdefghi", std::string(1, '\0'));
  auto contract = contract_of(5, 4, 1);
  const auto data = Dataset::from_idx(folder_, IdxSplit::kTrain, contract);
  ASSERT_TRUE(data.ok());
  Image image{3, 3, 1, {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'}};
  std::vector<float> want(20);
  ASSERT_TRUE(image_to_input(image, contract, want.data()).ok());
  EXPECT_EQ(read(**data, 0), want);
  EXPECT_EQ(read(**data, 0), want) << "from the cache";
  contract.resize = ResizePolicy::kExact;
  EXPECT_THAT(Dataset::from_idx(folder_, IdxSplit::kTrain, contract).status().message(),
              HasSubstr("exactly 5x4"));
}

TEST_F(IdxDataset, DigestCoversThePixels) {
  const auto digest = [&](std::string_view pixels, std::string_view labels) {
    write_split("train", {2, 1, 1}, pixels, labels);
    const auto data = Dataset::from_idx(folder_, IdxSplit::kTrain, contract_of(1, 1, 1));
    return data.ok() ? (*data)->digest() : data.status().message();
  };
  const std::string labels("\x00\x01", 2);
  const std::string original = digest("ab", labels);
  EXPECT_EQ(digest("ab", labels), original);
  EXPECT_NE(digest("aa", labels), original);
  EXPECT_NE(digest("ab", std::string("\x01\x00", 2)), original);
}

TEST(PixelsDataset, SizesThatDisagreeAreRefused) {
  const auto status = [](size_t pixels, int64_t height, std::vector<int32_t> classes,
                         std::vector<std::string> names) {
    return Dataset::from_pixels(std::vector<uint8_t>(pixels), height, 2, 1, std::move(classes),
                                std::move(names), contract_of(2, 2, 1))
        .status();
  };
  EXPECT_TRUE(status(8, 2, {0, 1}, {"a", "b"}).ok());
  EXPECT_EQ(status(7, 2, {0, 1}, {"a", "b"}).code(), StatusCode::kBadData);
  EXPECT_EQ(status(8, -2, {0, 1}, {"a", "b"}).code(), StatusCode::kBadData);
  EXPECT_EQ(status(8, INT64_MAX, {0, 1}, {"a", "b"}).code(), StatusCode::kBadData);
  EXPECT_EQ(status(8, 2, {0, 2}, {"a", "b"}).code(), StatusCode::kBadData);
  EXPECT_EQ(status(8, 2, {0, -1}, {"a", "b"}).code(), StatusCode::kBadData);
  EXPECT_EQ(status(8, 2, {0, 0}, {}).code(), StatusCode::kBadData);
  EXPECT_EQ(status(0, 2, {}, {"a"}).code(), StatusCode::kBadData);
}

}  // namespace
}  // namespace nacre
