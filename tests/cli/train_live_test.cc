// What a person at a terminal sees of a training.
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

class TrainLiveTest : public RunTest {
 protected:
  /// Runs the command with its stderr on a terminal of `columns`; gives what the terminal was sent.
  [[nodiscard]] std::string on_terminal(const std::vector<std::string>& arguments, unsigned short columns,
                                        int& code, const char* kind = "xterm") const {
    const std::string program = std::string(NACRE_BINARY_DIR) + "/nacre";
    std::vector<char*> argv{const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    const winsize size{24, columns, 0, 0};
    int master = -1;
    const pid_t pid = forkpty(&master, nullptr, nullptr, &size);
    if (pid == 0) {
      const std::string out = path("out");
      if (chdir(folder_.c_str()) == 0 && setenv("TERM", kind, 1) == 0 &&
          freopen(out.c_str(), "w", stdout) != nullptr) {
        execv(program.c_str(), argv.data());
      }
      _exit(127);
    }
    EXPECT_GT(pid, 0);
    std::string text;
    std::array<char, 4096> buffer{};
    // The read fails (EIO) when the other side has gone.
    for (ssize_t n = 1; n > 0;) {
      n = ::read(master, buffer.data(), buffer.size());
      if (n > 0) text.append(buffer.data(), static_cast<size_t>(n));
    }
    close(master);
    int status = 0;
    waitpid(pid, &status, 0);
    code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return text;
  }
};

TEST_F(TrainLiveTest, ALineRenewsItself) {
  int code = -1;
  const std::string text =
      on_terminal(train_arguments("run", {"--steps", "40", "--batch-size", "10"}), 160, code);
  ASSERT_EQ(code, 0) << text;
  // Of the first step: there is a bar, and time left.
  EXPECT_THAT(text,
              ContainsRegex("\\[>? +\\] 1/40  epoch 1  loss [0-9.]+  accuracy [0-9.]+%  [0-9,]+ images/s  "
                            "[0-9smh ]+ left"));
  // The next line goes over it.
  EXPECT_THAT(text, HasSubstr("left\r\x1b[K"));
  EXPECT_THAT(text, ContainsRegex("(\n|\x1b\\[K)step 40/40, epoch [0-9]+, loss [0-9.]+: validation loss"));
  EXPECT_THAT(read("out"), HasSubstr("Trained tiny for 40 steps"));
}

TEST_F(TrainLiveTest, ADumbTerminalGetsPlainLines) {
  int code = -1;
  const std::string text =
      on_terminal(train_arguments("run", {"--steps", "40", "--batch-size", "10"}), 160, code, "dumb");
  ASSERT_EQ(code, 0) << text;
  EXPECT_THAT(text, HasSubstr("step 1/40, epoch 1, loss "));
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
}

TEST_F(TrainLiveTest, NoLineIsWiderThanTheTerminal) {
  int code = -1;
  const std::string text =
      on_terminal(train_arguments("run", {"--steps", "40", "--batch-size", "10"}), 50, code);
  ASSERT_EQ(code, 0) << text;
  const size_t at = text.find("1/40  epoch 1  loss ");
  ASSERT_NE(at, std::string::npos) << text;
  EXPECT_LT(text.find('\r', at) - at, 50U) << text;
}

}  // namespace
}  // namespace nacre
