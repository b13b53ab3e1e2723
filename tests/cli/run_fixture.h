#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nacre {

/// How a started program ended, and what it wrote.
struct Outcome {
  int code = -1;  ///< exit code; 128 + signal when a signal ended it
  std::string out;
  std::string err;
};

std::vector<std::string> lines_of(const std::string& text);

/// An error of exit code `code`: one line, not too long, with `reason` in it. `notes`: lines on the data that
/// come before.
void expect_one_line(const Outcome& outcome, int code, const std::string& reason, int notes = 0);

/// A started program.
class Process {
 public:
  /// Starts `nacre` with `arguments`, `input` on its standard input, in folder `folder`.
  Process(const std::vector<std::string>& arguments, const std::string& folder,
          const std::string& input = "");
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void send(int signal) const;
  [[nodiscard]] bool running();
  /// Waits for the end.
  Outcome wait();

 private:
  pid_t pid_ = -1;
  std::string out_path_;
  std::string err_path_;
  std::string in_path_;
  std::optional<int> status_;
};

/// A test with a folder of its own that runs the real program in it.
class RunTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  [[nodiscard]] bool exists(const std::string& name) const;
  [[nodiscard]] std::string read(const std::string& name) const;
  void write(const std::string& name, std::string_view bytes) const;

  [[nodiscard]] Outcome nacre(const std::vector<std::string>& arguments, const std::string& input = "") const;
  /// nacre train with the tiny model, data "idx" and out `run`, 2 epochs, 1 thread, and `more`.
  [[nodiscard]] std::vector<std::string> train_arguments(const std::string& run,
                                                         const std::vector<std::string>& more = {}) const;
  [[nodiscard]] Outcome train(const std::string& run, const std::vector<std::string>& more = {}) const;
  /// What `nacre diff --json` says of two runs.
  [[nodiscard]] bool identical(const std::string& a, const std::string& b) const;
  [[nodiscard]] std::vector<nlohmann::json> metrics(const std::string& run) const;
  /// Names in RUN/checkpoints, sorted.
  [[nodiscard]] std::vector<std::string> checkpoints(const std::string& run) const;

  /// A folder of IDX files: `train` and `test` pictures of 8x8 pixels, of 3 classes that differ by where they
  /// are light. `variant` gives other pictures.
  void write_idx(const std::string& name, int train = 60, int test = 30, int variant = 0) const;
  /// A CSV list and its images, 10x10 colours, PNG and JPEG by turns, of 2 classes.
  void write_csv(const std::string& name, int count = 12) const;
  /// A model file: 8x8 grey pixels, convolution, pool, dropout, dense. `recipe` is its JSON object.
  void write_model(const std::string& name, const std::string& recipe = "{}", int filters = 4) const;
  /// The same for 8x8 colours.
  void write_colour_model(const std::string& name) const;
  /// Pictures in "faces", a network trained on them, and its bundle "model.nacre".
  void export_colour_model() const;

  std::string folder_;
};

}  // namespace nacre
