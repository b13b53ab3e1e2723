// SavedModels that nacre wrote, as every command that reads them sees them: the whole contract, and no
// damage.

#include <filesystem>

#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class OwnSavedModelTest : public RunTest {
 protected:
  /// Writes a.nacre, whose contract is `input`'s, and of it the SavedModel "model".
  void make(const std::string& input, const std::vector<std::string>& more = {}) const {
    std::string model = read("tiny.json");
    const std::string channels = R"("channels": 1)";
    model.replace(model.find(channels), channels.size(), channels + input);
    write("tiny.json", model);
    ASSERT_EQ(train("run", {"--steps", "2"}).code, 0);
    ASSERT_EQ(nacre({"export", "run", "--out", "a.nacre"}).code, 0);
    std::vector<std::string> words{"convert", "a.nacre", "--to", "saved_model", "--out", "model"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome written = nacre(words);
    ASSERT_EQ(written.code, 0) << written.err;
  }
  [[nodiscard]] Outcome to_bundle() const {
    return nacre({"convert", "model", "--to", "bundle", "--out", "b.nacre", "--overwrite"});
  }
  [[nodiscard]] json input_of(const std::string& file) const {
    return json::parse(nacre({"inspect", file, "--json"}).out).at("input");
  }
};

TEST_F(OwnSavedModelTest, TheContractComesBackWhateverTheDefaultSignatureTakes) {
  make(R"(, "scale": 0.0078, "jpeg_dct": "fast", "resize": "exact")", {"--default-signature", "float"});
  const Outcome outcome = to_bundle();
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("signature encoded_image"));
  EXPECT_EQ(input_of("b.nacre"), input_of("a.nacre"));
  EXPECT_EQ(input_of("model"), input_of("a.nacre"));
  EXPECT_EQ(input_of("model").at("resize"), "exact");
}

TEST_F(OwnSavedModelTest, DamageIsNoticedByAllThatReadIt) {
  make("");
  const auto expect_refused = [&](const std::string& reason) {
    SCOPED_TRACE(reason);
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"inspect", "model"},
          {"verify", "model"},
          {"diff", "model", "a.nacre"},
          {"convert", "model", "--to", "bundle", "--out", "b.nacre"},
          {"convert", "model", "--to", "bundle", "--out", "b.nacre", "--signature", "float_image"}}) {
      expect_one_line(nacre(command), 4, reason);
    }
    EXPECT_FALSE(exists("b.nacre"));
  };
  const std::string labels = read("model/assets/labels.txt");
  std::string others = labels;
  others[0] = static_cast<char>(others[0] ^ 1);
  write("model/assets/labels.txt", others);
  expect_refused("model/assets/labels.txt: its SHA-256");
  ASSERT_TRUE(std::filesystem::remove(path("model/assets/labels.txt")));
  expect_refused("model/assets/labels.txt: is missing");
  write("model/assets/labels.txt", labels);
  EXPECT_EQ(to_bundle().code, 0);
}

TEST_F(OwnSavedModelTest, AModelOfOneClassComesBack) {
  write_csv("faces", 4);
  std::string list = read("faces/list.csv");
  for (const std::string word : {"upper,0", "lower,1"}) {
    for (size_t at = 0; (at = list.find(word)) != std::string::npos;) list.replace(at, word.size(), "one,0");
  }
  write("faces/list.csv", list);
  write_colour_model("colour.json");
  const Outcome trained = nacre({"train", "--model", "colour.json", "--data", "faces/list.csv", "--out",
                                 "run", "--steps", "1", "--batch-size", "2"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  ASSERT_EQ(nacre({"convert", "run", "--to", "saved_model", "--out", "model"}).code, 0);
  const Outcome verified = nacre({"verify", "model"});
  EXPECT_EQ(verified.code, 0) << verified.err;
  const Outcome outcome = to_bundle();
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(identical("b.nacre", "model"));
}

}  // namespace
}  // namespace nacre
