#include "tests/cli/run_fixture.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "image/encode.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

/// An IDX file of unsigned bytes.
std::string idx(const std::vector<uint32_t>& dims, const std::string& data) {
  std::string bytes{'\0', '\0', '\x08', static_cast<char>(dims.size())};
  for (const uint32_t extent : dims) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(extent >> shift & 0xFF);
  }
  return bytes + data;
}

/// Level of a pixel of picture `i`: its class is light in a third of its own, over some noise.
uint8_t level(int i, int pixel, int pixels, int classes, int variant) {
  const bool light = pixel * classes / pixels == i % classes;
  const int noise = (i * 31 + pixel * 17 + variant * 7 + i * pixel % 13) % 60;
  return static_cast<uint8_t>((light ? 180 : 10) + noise);
}

}  // namespace

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

void expect_one_line(const Outcome& outcome, int code, const std::string& reason, int notes) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_THAT(outcome.err, testing::HasSubstr(reason));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), notes + 1) << outcome.err;
  EXPECT_LT(outcome.err.size(), 3000U);
}

Process::Process(const std::vector<std::string>& arguments, const std::string& folder,
                 const std::string& input) {
  static int count = 0;
  const std::string prefix = fmt::format("{}/.process{}", folder, count++);
  out_path_ = prefix + ".out";
  err_path_ = prefix + ".err";
  in_path_ = prefix + ".in";
  std::ofstream(in_path_, std::ios::binary) << input;
  const std::string program = std::string(NACRE_BINARY_DIR) + "/nacre";
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    const auto redirect = [](const std::string& path, int flags, int to) {
      const int fd = open(path.c_str(), flags | O_CLOEXEC, 0600);
      return fd >= 0 && dup2(fd, to) >= 0;
    };
    if (chdir(folder.c_str()) == 0 && redirect(in_path_, O_RDONLY, 0) &&
        redirect(out_path_, O_WRONLY | O_CREAT | O_TRUNC, 1) &&
        redirect(err_path_, O_WRONLY | O_CREAT | O_TRUNC, 2)) {
      execv(program.c_str(), argv.data());
    }
    _exit(127);
  }
}

Process::~Process() {
  if (pid_ > 0 && running()) {
    kill(pid_, SIGKILL);
    wait();
  }
}

void Process::send(int signal) const {
  kill(pid_, signal);
}

bool Process::running() {
  if (status_.has_value()) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return true;
  status_ = status;
  return false;
}

Outcome Process::wait() {
  if (!status_.has_value()) {
    int status = 0;
    waitpid(pid_, &status, 0);
    status_ = status;
  }
  const int code = WIFEXITED(*status_) ? WEXITSTATUS(*status_) : 128 + WTERMSIG(*status_);
  return {code, read_text(out_path_), read_text(err_path_)};
}

void RunTest::SetUp() {
  std::string pattern = testing::TempDir() + "nacre_run_XXXXXX";
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  folder_ = pattern;
  write_idx("idx");
  write_model("tiny.json");
}

void RunTest::TearDown() {
  fs::remove_all(folder_);
}

bool RunTest::exists(const std::string& name) const {
  return fs::exists(fs::symlink_status(path(name)));
}

std::string RunTest::read(const std::string& name) const {
  return read_text(path(name));
}

void RunTest::write(const std::string& name, std::string_view bytes) const {
  fs::create_directories(fs::path(path(name)).parent_path());
  std::ofstream(path(name), std::ios::binary) << bytes;
}

Outcome RunTest::nacre(const std::vector<std::string>& arguments, const std::string& input) const {
  return Process(arguments, folder_, input).wait();
}

std::vector<std::string> RunTest::train_arguments(const std::string& run,
                                                  const std::vector<std::string>& more) const {
  std::vector<std::string> arguments{"train", "--model", "tiny.json", "--out", run};
  const auto has = [&](const std::string& option) {
    return std::find(more.begin(), more.end(), option) != more.end();
  };
  if (!has("--data")) arguments.insert(arguments.end(), {"--data", "idx"});
  if (!has("--steps") && !has("--epochs")) arguments.insert(arguments.end(), {"--epochs", "2"});
  if (!has("--threads")) arguments.insert(arguments.end(), {"--threads", "1"});
  if (!has("--batch-size")) arguments.insert(arguments.end(), {"--batch-size", "10"});
  if (!has("--learning-rate")) arguments.insert(arguments.end(), {"--learning-rate", "0.01"});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

Outcome RunTest::train(const std::string& run, const std::vector<std::string>& more) const {
  return nacre(train_arguments(run, more));
}

bool RunTest::identical(const std::string& a, const std::string& b) const {
  const Outcome outcome = nacre({"diff", a, b, "--json"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const nlohmann::json json = nlohmann::json::parse(outcome.out, nullptr, false);
  EXPECT_TRUE(json.is_object()) << outcome.out;
  return json.is_object() && json.value("identical", false);
}

std::vector<nlohmann::json> RunTest::metrics(const std::string& run) const {
  std::vector<nlohmann::json> lines;
  std::istringstream text(read(run + "/metrics.jsonl"));
  for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

std::vector<std::string> RunTest::checkpoints(const std::string& run) const {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path(run + "/checkpoints"))) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void RunTest::write_idx(const std::string& name, int train, int test, int variant) const {
  constexpr int kPixels = 64;
  constexpr int kClasses = 3;
  for (const auto& [prefix, count] : {std::pair<std::string, int>{"train", train}, {"t10k", test}}) {
    std::string pixels;
    std::string classes;
    for (int i = 0; i < count; ++i) {
      for (int p = 0; p < kPixels; ++p) {
        pixels += static_cast<char>(level(i, p, kPixels, kClasses, variant + (prefix == "t10k" ? 5 : 0)));
      }
      classes += static_cast<char>(i % kClasses);
    }
    if (count == 0) continue;
    const auto n = static_cast<uint32_t>(count);
    write(name + "/" + prefix + "-images-idx3-ubyte", idx({n, 8, 8}, pixels));
    write(name + "/" + prefix + "-labels-idx1-ubyte", idx({n}, classes));
  }
}

void RunTest::write_csv(const std::string& name, int count) const {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    Image image{10, 10, 3, {}};
    for (int p = 0; p < 300; ++p) image.pixels.push_back(level(i, p, 300, 2, 0));
    const bool png = i / 2 % 2 == 0;
    const Result<std::vector<std::byte>> bytes = png ? encode_png(image) : encode_jpeg(image, 95);
    ASSERT_TRUE(bytes.ok()) << bytes.status().message();
    const std::string file = fmt::format("{}{:02}.{}", name, i, png ? "png" : "jpg");
    write(name + "/" + file, {reinterpret_cast<const char*>(bytes->data()), bytes->size()});
    lines += fmt::format("{},{},{}\n", file, i % 2 == 0 ? "upper" : "lower", i % 2);
  }
  write(name + "/list.csv", lines);
}

void RunTest::write_model(const std::string& name, const std::string& recipe, int filters) const {
  write(name,
        fmt::format(R"({{"name": "tiny", "input": {{"height": 8, "width": 8, "channels": 1}}, "layers": [
    {{"op": "Conv2D", "name": "conv1", "filters": {}, "kernel_size": 3, "strides": 1, "padding": "same",
      "activation": "relu"}},
    {{"op": "MaxPool2D", "name": "pool1", "pool_size": 2, "strides": 2}},
    {{"op": "Flatten", "name": "flatten"}},
    {{"op": "Dropout", "name": "dropout", "rate": 0.25}},
    {{"op": "Dense", "name": "out", "units": "classes"}}], "recipe": {}}})",
                    filters, recipe));
}

void RunTest::write_colour_model(const std::string& name) const {
  write(name, R"({"name": "colour", "input": {"height": 8, "width": 8, "channels": 3}, "layers": [
    {"op": "Conv2D", "name": "conv1", "filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu"},
    {"op": "Flatten", "name": "flatten"},
    {"op": "Dense", "name": "out", "units": "classes"}]})");
}

void RunTest::export_colour_model() const {
  write_csv("faces");
  write_colour_model("colour.json");
  const Outcome trained = nacre({"train", "--model", "colour.json", "--data", "faces/list.csv", "--out",
                                 "run", "--epochs", "20", "--learning-rate", "0.01"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const Outcome exported = nacre({"export", "run", "--out", "model.nacre"});
  ASSERT_EQ(exported.code, 0) << exported.err;
}

}  // namespace nacre
