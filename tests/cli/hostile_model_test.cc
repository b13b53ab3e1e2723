#include <limits>
#include <nlohmann/json.hpp>

#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

using Json = nlohmann::json;

/// Model files as an attacker writes them: one line, the right exit code, soon.
class HostileModelTest : public RunTest {
 protected:
  /// The outcome of training on a model file with these layers.
  [[nodiscard]] Outcome train_layers(const Json& layers,
                                     const Json& input = {
                                         {"height", 8}, {"width", 8}, {"channels", 1}}) const {
    write("hostile.json", Json({{"name", "m"}, {"input", input}, {"layers", layers}}).dump());
    return nacre({"train", "--model", "hostile.json", "--data", "idx", "--out", "run", "--steps", "1"});
  }
  static Json head() { return Json::array({{{"op", "Flatten"}}, {{"op", "Dense"}, {"units", "classes"}}}); }
  static Json after(Json layer) {
    Json layers = head();
    layers.insert(layers.begin(), std::move(layer));
    return layers;
  }
};

TEST_F(HostileModelTest, DepthNeedsNoRecursion) {
  // As text: a JSON value of a million parts takes longer to make than to read.
  const auto chain = [&](int relus) {
    std::string layers;
    for (int i = 0; i < relus; ++i) layers += R"({"op":"ReLU"},)";
    write("deep.json", R"({"name": "m", "input": {"height": 8, "width": 8, "channels": 1}, "layers": [)" +
                           layers + R"({"op": "Flatten"}, {"op": "Dense", "units": "classes"}]})");
    return nacre({"train", "--model", "deep.json", "--data", "idx", "--out", "run", "--steps", "1"});
  };
  expect_one_line(chain(1000000), 7, "layers: 1000002 of them");
  write("hostile.json", std::string(1000000, '['));
  expect_one_line(nacre({"models", "hostile.json"}), 3, "nested more than 32 deep");
  // What is deep, but allowed, is trained.
  const Outcome deep = chain(10000);
  EXPECT_EQ(deep.code, 0) << deep.err;
}

TEST_F(HostileModelTest, CyclesAreRefused) {
  Json layers = after({{"op", "ReLU"}, {"name", "a"}, {"inputs", {"b"}}});
  layers.insert(layers.begin() + 1, Json{{"op", "ReLU"}, {"name", "b"}});
  expect_one_line(train_layers(layers), 3, "cycle");
  expect_one_line(train_layers(after({{"op", "ReLU"}, {"name", "a"}, {"inputs", {"a"}}})), 3, "reads itself");
}

TEST_F(HostileModelTest, SizesAreBoundedBeforeMemoryIsTaken) {
  constexpr int64_t kHuge = int64_t{1} << 62;
  const Json conv{{"op", "Conv2D"}, {"filters", 4}, {"kernel_size", 3}, {"padding", "same"}};
  for (const char* attribute : {"filters", "kernel_size", "strides"}) {
    for (const int64_t value : {int64_t{0}, int64_t{-1}, kHuge, std::numeric_limits<int64_t>::min()}) {
      Json layer = conv;
      layer[attribute] = value;
      expect_one_line(train_layers(after(layer)), 3, attribute);
    }
  }
  for (const char* attribute : {"pool_size", "strides"}) {
    Json layer{{"op", "MaxPool2D"}, {"pool_size", 2}, {"strides", 2}};
    layer[attribute] = kHuge;
    expect_one_line(train_layers(after(layer)), 3, attribute);
  }
  expect_one_line(train_layers(after({{"op", "Dropout"}, {"rate", 1e300}})), 3, "rate");
  // Each of them small enough, their product not.
  Json wide = head();
  for (int i = 0; i < 2; ++i) wide.insert(wide.begin() + 1, Json{{"op", "Dense"}, {"units", 2000000}});
  EXPECT_EQ(train_layers(wide).code, 7);
  EXPECT_EQ(train_layers(head(), {{"height", 1 << 14}, {"width", 1 << 14}, {"channels", 3}}).code, 7);
  expect_one_line(train_layers(head(), {{"height", kHuge}, {"width", 8}, {"channels", 1}}), 3,
                  "input.height");
  EXPECT_FALSE(exists("run/checkpoints/latest"));
}

TEST_F(HostileModelTest, WrongTypesAreNamedWithTheirPlace) {
  const Json conv{{"op", "Conv2D"}, {"filters", 4}, {"kernel_size", 3}};
  const std::vector<Json> wrong{nullptr, true, 2.5, "many", Json::object(), Json::array({Json::array()})};
  for (const Json& value : wrong) {
    Json layer = conv;
    layer["filters"] = value;
    expect_one_line(train_layers(after(layer)), 3, "hostile.json: layers[0]");
    layer = conv;
    layer["op"] = value;
    expect_one_line(train_layers(after(layer)), 3, "hostile.json: layers[0].op");
    expect_one_line(train_layers(after(value)), 3, "hostile.json: layers[0]");
    expect_one_line(train_layers(value), 3, "hostile.json: layers");
  }
}

TEST_F(HostileModelTest, ShapesThatDoNotFitNameTheFile) {
  const Json conv{{"op", "Conv2D"}, {"filters", 4}, {"kernel_size", 30}};
  Json add = after({{"op", "Add"}, {"inputs", {"input"}}});
  Json shapes = after({{"op", "Add"}, {"inputs", {"input", "conv2d"}}});
  shapes.insert(shapes.begin(), Json{{"op", "Conv2D"}, {"filters", 4}, {"kernel_size", 3}});
  for (const auto& [layers, reason] : std::vector<std::pair<Json, std::string>>{
           {after(conv), "node \"conv2d\" (Conv2D): a window of height 30 does not fit"},
           {add, "node \"add\": Add takes 2 to 64 inputs, found 1"},
           {shapes, "node \"add\" (Add): expected inputs of one shape, found [N, 8, 8, 1] and [N, 6, 6, 4]"},
           {Json::array({{{"op", "Dense"}, {"units", 3}}}),
            "node \"dense\" (Dense): expected an input [N, features], found [N, 8, 8, 1]"}}) {
    expect_one_line(train_layers(layers), 3, reason, /*notes=*/2);
    EXPECT_THAT(lines_of(train_layers(layers).err).back(), testing::StartsWith("nacre: hostile.json: node "));
    for (const std::vector<std::string>& command : {std::vector<std::string>{"models", "hostile.json"},
                                                    {"bench", "train", "--model", "hostile.json"},
                                                    {"bench", "infer", "--model", "hostile.json"}}) {
      expect_one_line(nacre(command), 3, "nacre: hostile.json: " + reason);
    }
  }
  const Outcome flat = train_layers(Json::array({{{"op", "Flatten"}}}));
  EXPECT_EQ(flat.code, 3);
  EXPECT_EQ(lines_of(flat.err).back(),
            "nacre: hostile.json: the output is [N, 64], but the data has 3 classes (expected [N, 3])");
  EXPECT_FALSE(exists("run"));
}

TEST_F(HostileModelTest, ARecipeIsCheckedWhereverItIsRead) {
  for (const auto& [recipe, reason] :
       {std::pair<std::string, std::string>{R"({"frob": 2})",
                                            "recipe: \"frob\" is no option there; known are "},
        {R"({"data": "photos"})", "recipe: \"data\" is no option there"},
        {R"({"epochs": "many"})", "recipe: epochs: expected an integer"},
        {R"({"epochs": 1, "steps": 1})", "recipe: steps: expected either epochs or steps"}}) {
    write_model("hostile.json", recipe);
    const Outcome printed = nacre({"models", "hostile.json"});
    expect_one_line(printed, 3, "nacre: hostile.json: " + reason);
    const Outcome trained = nacre({"train", "--model", "hostile.json", "--data", "idx", "--out", "run"});
    EXPECT_EQ(trained.err, printed.err);
    EXPECT_EQ(trained.code, 3);
  }
}

}  // namespace
}  // namespace nacre
