#include "train/class_folders.h"

#include <algorithm>
#include <numeric>

#include "tests/train/data_fixture.h"
#include "train/loader.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

class FolderDataset : public DataTest {
 protected:
  /// Writes a PNG with its folders.
  void picture(const std::string& name, int64_t height = 4, int64_t width = 5) {
    fs::create_directories(fs::path(path(name)).parent_path());
    write_png(name, pattern_image(height, width, 3, count_++));
  }
  void text(const std::string& name, std::string_view bytes) {
    fs::create_directories(fs::path(path(name)).parent_path());
    write(name, bytes);
  }
  [[nodiscard]] Result<std::shared_ptr<const Dataset>> open(const DatasetOptions& options = {}) const {
    return Dataset::from_folder(path("photos"), contract_of(4, 5, 3), options);
  }
  [[nodiscard]] std::string error(const DatasetOptions& options = {}) const {
    const auto data = open(options);
    EXPECT_FALSE(data.ok());
    if (data.ok()) return "";
    EXPECT_EQ(data.status().code(), StatusCode::kBadData) << data.status().message();
    EXPECT_EQ(data.status().message().find('\n'), std::string::npos);
    return data.status().message();
  }
  int count_ = 0;
};

TEST_F(FolderDataset, FoldersAreClassesInOrderOfTheirNames) {
  for (const char* name : {"photos/dog/2.png", "photos/dog/10.png", "photos/cat/b.png", "photos/cat/a.JPG",
                           "photos/Zebra/x.png", "photos/cat/sub/deeper/c.png"}) {
    picture(name);
  }
  const auto data = open();
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_THAT((*data)->labels(), ElementsAre("Zebra", "cat", "dog"));
  std::vector<std::string> names;
  for (int64_t i = 0; i < (*data)->size(); ++i) {
    names.push_back(fs::path((*data)->name(i)).lexically_relative(path("photos")).string() + "=" +
                    std::to_string((*data)->label(i)));
  }
  EXPECT_THAT(names, ElementsAre("Zebra/x.png=0", "cat/a.JPG=1", "cat/b.png=1", "cat/sub/deeper/c.png=1",
                                 "dog/10.png=2", "dog/2.png=2"));
  EXPECT_THAT((*data)->class_counts(), ElementsAre(1, 3, 2));
  std::vector<float> read(60);
  std::vector<float> expected(60);
  ASSERT_TRUE((*data)->read(3, read.data()).ok());
  ASSERT_TRUE(load_image(path("photos/cat/sub/deeper/c.png"), contract_of(4, 5, 3), expected.data()).ok());
  EXPECT_EQ(read, expected);
}

TEST_F(FolderDataset, HiddenFilesAndWhatLiesBesideArePassedOver) {
  picture("photos/a/1.png");
  picture("photos/.cache/9.png");
  text("photos/a/.DS_Store", "x");
  text("photos/a/.git/config", "x");
  text("photos/README.md", "About these photos.\n");
  const auto data = open();
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_EQ((*data)->size(), 1);
}

TEST_F(FolderDataset, NamesThatNoListCanHoldAreRefused) {
  picture("photos/a/1.png");
  for (const std::string name : {"photos/a/x\ny.png", "photos/a/in\rner/x.png", "photos/a/\x7f.png"}) {
    picture(name);
    EXPECT_THAT(error(), HasSubstr("png: the name holds a control character (shown as ?)"));
    DatasetOptions options;
    options.skip_bad = 1;
    const auto data = open(options);
    ASSERT_TRUE(data.ok()) << data.status().message();
    EXPECT_EQ((*data)->size(), 1);
    fs::remove(path(name));
  }
}

TEST_F(FolderDataset, WhatIsNoImageIsNamedOrLeftOut) {
  picture("photos/a/1.png");
  picture("photos/b/1.png");
  text("photos/a/notes.txt", "some text\n");
  text("photos/a/Thumbs.db", "what a desktop leaves there");
  EXPECT_THAT(error(), HasSubstr("photos/a/notes.txt: is a text file, not a JPEG or PNG (1 bad file found)"));
  text("photos/b/cut.jpg", "\xff\xd8\xff\xe0 cut off");
  DatasetOptions options;
  options.skip_bad = 1;
  options.skip_option = "--skip-bad";
  EXPECT_THAT(error(options), AllOf(HasSubstr("photos/b/cut.jpg: "),
                                    EndsWith(" (2 bad files found; --skip-bad 1 leaves out 1)")));
  options.skip_bad = 2;
  const auto data = open(options);
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_EQ((*data)->size(), 2);
  EXPECT_THAT((*data)->skipped(), ElementsAre(HasSubstr("notes.txt"), HasSubstr("cut.jpg")));
}

TEST_F(FolderDataset, ErrorsCountBadFilesAndSuggestTheOption) {
  picture("photos/a/1.png");
  text("photos/b/1.gif", "GIF89a");
  text("photos/b/notes.txt", "some text\n");
  text("photos/c/notes.txt", "some text\n");
  DatasetOptions options;
  options.skip_option = "--skip-bad";
  // A class whose files are all bad holds files all the same.
  EXPECT_THAT(error(options), EndsWith("photos/b/1.gif: is a GIF, not a JPEG or PNG (2 bad files found; "
                                       "--skip-bad N leaves such files out)"));
  picture("photos/b/1.png");
  picture("photos/c/1.png");
  EXPECT_THAT(error(options), HasSubstr("(3 bad files found; --skip-bad N leaves such files out)"));
  // What begins like an image shows what it is when it is read.
  for (const char* name : {"photos/b/1.gif", "photos/b/notes.txt", "photos/c/notes.txt"})
    fs::remove(path(name));
  text("photos/a/2.jpg", "\xff\xd8\xff\xe0 cut off");
  const auto data = open(options);
  ASSERT_TRUE(data.ok()) << data.status().message();
  std::vector<float> input(static_cast<size_t>((*data)->image_floats()));
  const Status status = (*data)->read(1, input.data());
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("photos/a/2.jpg: "), EndsWith(" (--skip-bad N leaves such files out)")));
}

TEST_F(FolderDataset, OtherBadEntriesAreNamed) {
  picture("photos/a/1.png");
  const auto expect = [&](const std::string& name, const std::string& reason) {
    EXPECT_THAT(error(), AllOf(HasSubstr(path(name) + ": "), HasSubstr(reason)));
    fs::remove_all(path(name));
  };
  text("photos/a/empty.png", "");
  expect("photos/a/empty.png", "is empty");
  picture("photos/beside.png");
  expect("photos/beside.png", "beside the class folders");
  fs::create_directories(path("photos/nothing"));
  expect("photos/nothing", "holds no images");
  fs::create_directory_symlink(path("photos/a"), path("photos/link"));
  expect("photos/link", "symbolic link to a folder");
  fs::create_directory_symlink(path("photos"), path("photos/a/loop"));
  expect("photos/a/loop", "symbolic link to a folder");
  fs::create_symlink("nowhere.png", path("photos/a/dangling.png"));
  expect("photos/a/dangling.png", "leads nowhere");
  picture("photos/b\xff/1.png");
  expect("photos/b\xff", "not UTF-8");
  picture("photos/b\nc/1.png");
  EXPECT_FALSE(open().ok());
  fs::remove_all(path("photos/b\nc"));
  fs::create_symlink(path("photos/a/1.png"), path("photos/a/2.png"));
  ASSERT_TRUE(open().ok());
  EXPECT_EQ((*open())->size(), 2);
  EXPECT_THAT(class_folder_names(path("photos")).value(), ElementsAre("a"));
  EXPECT_THAT(class_folder_names(path("photos/a")).value(), testing::IsEmpty());
  EXPECT_EQ(class_folder_names(path("photos/a/1.png")).status().code(), StatusCode::kIo);
}

TEST_F(FolderDataset, GivenClassesDecideNumbersAndRefuseOthers) {
  picture("photos/b/1.png");
  picture("photos/a/1.png");
  DatasetOptions options;
  options.labels = {"c", "b", "a"};
  const auto data = open(options);
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_THAT((*data)->labels(), ElementsAre("c", "b", "a"));
  EXPECT_EQ((*data)->label(0), 2);
  EXPECT_EQ((*data)->label(1), 1);
  options.labels = {"c", "b"};
  EXPECT_THAT(error(options), AllOf(HasSubstr("photos/a: "), HasSubstr("not one of the 2 classes")));
}

TEST_F(FolderDataset, TheDigestIsThatOfTheListWhereverItLies) {
  picture("photos/a/1.png");
  picture("photos/b/1.png");
  const std::string before = (*open())->digest();
  fs::rename(path("photos"), path("elsewhere"));
  EXPECT_EQ((*Dataset::from_folder(path("elsewhere"), contract_of(4, 5, 3)))->digest(), before);
  fs::rename(path("elsewhere"), path("photos"));
  fs::rename(path("photos/b/1.png"), path("photos/b/2.png"));
  EXPECT_NE((*open())->digest(), before);
}

TEST_F(FolderDataset, SizesAreThoseThatFilesDeclare) {
  picture("photos/a/1.png", 4, 5);
  picture("photos/a/2.png", 8, 10);
  SizeSurvey survey = (*open())->survey_sizes(10);
  EXPECT_EQ(survey.looked_at, 2);
  EXPECT_EQ(survey.smallest, (ImageSize{4, 5}));
  EXPECT_EQ(survey.largest, (ImageSize{8, 10}));
  EXPECT_TRUE(survey.keeps_ratio);
  picture("photos/a/3.png", 30, 7);
  survey = (*open())->survey_sizes(10);
  EXPECT_EQ(survey.largest, (ImageSize{30, 7}));
  EXPECT_FALSE(survey.keeps_ratio);
  EXPECT_EQ((*open())->survey_sizes(1).looked_at, 1);
}

/// `counts[c]` pictures of class c, one after the other.
std::shared_ptr<const Dataset> pictures_of(const std::vector<int>& counts) {
  std::vector<int32_t> classes;
  std::vector<std::string> names;
  for (size_t c = 0; c < counts.size(); ++c) {
    classes.insert(classes.end(), static_cast<size_t>(counts[c]), static_cast<int32_t>(c));
    names.push_back("class" + std::to_string(c));
  }
  std::vector<uint8_t> pixels(classes.size());
  std::iota(pixels.begin(), pixels.end(), uint8_t{0});
  auto contract = contract_of(1, 1, 1);
  contract.scale = 1.0F;
  auto data = Dataset::from_pixels(pixels, 1, 1, 1, classes, names, contract);
  EXPECT_TRUE(data.ok()) << data.status().message();
  return data.ok() ? *data : nullptr;
}

/// Which pictures a part holds: pixel i of the whole has the value i.
std::vector<int> members(const Dataset& part) {
  std::vector<int> found;
  for (int64_t i = 0; i < part.size(); ++i) {
    float value = -1;
    EXPECT_TRUE(part.read(i, &value).ok());
    found.push_back(static_cast<int>(value));
  }
  return found;
}

TEST(Split, TakesItsShareOfEveryClassAndLeavesOne) {
  const auto whole = pictures_of({10, 1, 25, 3, 2});
  const auto parts = Dataset::split(whole, 0.2, 7);
  ASSERT_TRUE(parts.ok()) << parts.status().message();
  EXPECT_THAT(parts->validation->class_counts(), ElementsAre(2, 0, 5, 1, 0));
  EXPECT_THAT(parts->training->class_counts(), ElementsAre(8, 1, 20, 2, 2));
  std::vector<int> all = members(*parts->training);
  const std::vector<int> validation = members(*parts->validation);
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
  EXPECT_TRUE(std::is_sorted(validation.begin(), validation.end()));
  all.insert(all.end(), validation.begin(), validation.end());
  std::sort(all.begin(), all.end());
  std::vector<int> expected(41);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(all, expected);
  EXPECT_EQ(parts->training->name(0), whole->name(members(*parts->training)[0]));
  EXPECT_EQ(parts->training->labels(), whole->labels());
}

TEST(Split, AlmostAllForValidationStillLeavesOneOfEachClass) {
  const auto parts = Dataset::split(pictures_of({10, 1, 3}), 0.99, 7);
  ASSERT_TRUE(parts.ok());
  EXPECT_THAT(parts->training->class_counts(), ElementsAre(1, 1, 1));
  const Status none = Dataset::split(pictures_of({1, 1, 2}), 0.001, 7).status();
  EXPECT_EQ(none.code(), StatusCode::kBadData);
  EXPECT_THAT(none.message(), HasSubstr("a share of 0.001 of every class leaves no image for validation"));
}

TEST(Split, IsAFunctionOfListFractionAndSeed) {
  const auto whole = pictures_of({20, 20});
  const auto split = [&](double fraction, uint64_t seed) {
    return Dataset::split(whole, fraction, seed)->validation;
  };
  EXPECT_EQ(members(*split(0.3, 1)), members(*split(0.3, 1)));
  EXPECT_EQ(split(0.3, 1)->digest(), Dataset::split(pictures_of({20, 20}), 0.3, 1)->validation->digest());
  EXPECT_NE(members(*split(0.3, 1)), members(*split(0.3, 2)));
  EXPECT_NE(split(0.3, 1)->digest(), split(0.3, 2)->digest());
  EXPECT_NE(split(0.3, 1)->digest(), split(0.5, 1)->digest());
}

}  // namespace
}  // namespace nacre
