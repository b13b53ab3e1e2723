#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <sstream>

#include "cli/console.h"
#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// An error: the code, nothing on stdout, one line on stderr.
void expect_error(const Outcome& outcome, int code) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, StartsWith("nacre: "));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
}

class CommandLine : public RunTest {};

TEST_F(CommandLine, HelpAndVersionSucceed) {
  EXPECT_THAT(nacre({"--version"}).out, StartsWith("nacre "));
  for (const char* command :
       {"train", "eval", "export", "predict", "inspect", "verify", "diff", "models", "bench"}) {
    EXPECT_THAT(nacre({"--help"}).out, HasSubstr(command));
    const Outcome help = nacre({command, "--help"});
    EXPECT_EQ(help.code, 0) << help.err;
    EXPECT_THAT(help.out, HasSubstr(command));
  }
  EXPECT_THAT(nacre({"bench", "infer", "--help"}).out, HasSubstr("--batch-size"));
}

TEST_F(CommandLine, HelpFitsATerminal) {
  for (const std::string command : {"", "train", "eval", "export", "convert", "predict", "inspect", "verify",
                                    "diff", "models", "bench", "bench train", "bench infer", "bench load"}) {
    std::istringstream words(command);
    std::vector<std::string> arguments{std::istream_iterator<std::string>(words), {}};
    arguments.emplace_back("--help");
    const std::string help = nacre(arguments).out;
    for (const std::string& line : lines_of(help)) {
      const bool is_example = line.find("nacre train --model") != std::string::npos;
      EXPECT_LE(line.size(), is_example ? 100U : 80U) << line;
    }
    EXPECT_THAT(help, Not(HasSubstr("TEXT")));
    EXPECT_THAT(help, Not(HasSubstr(":INT")));
    EXPECT_THAT(help, Not(HasSubstr("\n\n\n")));
  }
  EXPECT_THAT(nacre({"predict", "--help"}).out, HasSubstr("\n  IMAGE...                    JPEG or PNG"));
}

TEST_F(CommandLine, WithoutACommandItShowsHelp) {
  const Outcome outcome = nacre({});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.out, HasSubstr("models"));
}

TEST_F(CommandLine, WrongUsageIsOneLineAndExits2) {
  expect_error(nacre({"frobnicate"}), 2);
  expect_error(nacre({"models", "--frobnicate"}), 2);
  expect_error(nacre({"models", "a", "b"}), 2);
  expect_error(nacre({"models", "--classes", "0"}), 2);
  expect_error(nacre({"models", "--classes=x"}), 2);
  expect_error(nacre({"verify"}), 2);
  expect_error(nacre({"verify", "x", "--threads", "0"}), 2);
  expect_error(nacre({"bench"}), 2);
  expect_error(nacre({"bench", "infer"}), 2);
  expect_error(nacre({"bench", "train", "--model", "fashion28", "--optimizer", "lamb"}), 2);
  EXPECT_THAT(nacre({"models", "--classes", "2", "--classes", "3"}).err,
              HasSubstr("--classes: expected once, found 2 times (see nacre models --help)"));
  const Outcome outcome = nacre({"inspect", "x", "--frob\nnicate"});
  expect_error(outcome, 2);
  EXPECT_THAT(outcome.err, HasSubstr("inspect"));
}

TEST_F(CommandLine, WrongUsageSaysWhatIsWrong) {
  const auto expect = [&](const std::vector<std::string>& arguments, const std::string& reason) {
    const Outcome outcome = nacre(arguments);
    expect_error(outcome, 2);
    EXPECT_EQ(outcome.err, "nacre: " + reason + "\n");
  };
  const std::string commands =
      "known are train, eval, export, convert, predict, inspect, verify, diff, models, bench, serve";
  expect({"frobnicate", "--data", "photos"},
         "unknown command frobnicate; " + commands + " (see nacre --help)");
  expect({"trian", "--data", "photos"},
         "unknown command trian (did you mean train?); " + commands + " (see nacre --help)");
  expect({"bench", "lode"},
         "bench: unknown command lode (did you mean load?); known are train, infer, load "
         "(see nacre bench --help)");
  expect({"bench"}, "bench: expected a command: train, infer, load (see nacre bench --help)");
  expect({"--frob"}, "unknown option --frob (see nacre --help)");
  expect({"train", "--step", "3"},
         "train: unknown option --step; did you mean --steps? (see nacre train --help)");
  expect({"train", "--batchsize=3", "--frob"},
         "train: unknown option --batchsize; did you mean --batch-size? (see nacre train --help)");
  expect({"eval", "run", "--dta", "photos"},
         "eval: unknown option --dta; did you mean --data? (see nacre eval --help)");
  expect({"models", "a", "b", "c"}, "models: unexpected argument b (see nacre models --help)");
  expect({"train", "--out", "run", "--skip-bad"},
         "train: --skip-bad: needs a value N (see nacre train --help)");
  // CLI11 would take the next word, a flag that then has no effect.
  expect({"train", "--image-root=", "--exif-orient", "--out", "run"},
         "train: --image-root: needs a value DIR (see nacre train --help)");
  expect({"predict", "m.nacre", "--model=", "--json", "x.png"},
         "predict: --model: needs a value PRESET|FILE (see nacre predict --help)");
  expect({"bench", "train", "--steps=", "3"},
         "bench train: --steps: needs a value N (see nacre bench train --help)");
  expect({"train", "--frob=", "--out", "run"}, "train: unknown option --frob (see nacre train --help)");
  expect({"eval"}, "eval: FILE and --data are required (see nacre eval --help)");
  expect({"eval", "run"}, "eval: --data is required (see nacre eval --help)");
  expect({"train"}, "train: --model, --data and --out are required (see nacre train --help)");
  expect({"train", "--model", "face96"}, "train: --data and --out are required (see nacre train --help)");
  expect({"train", "--model", "face96", "--data", "photos"},
         "train: --out is required: the folder to write the run to (see nacre train --help)");
}

TEST_F(CommandLine, FilesThatAreNoModelsAreRefused) {
  write("text", "hello");
  write("empty", "");
  write("folder/file", "x");
  for (const char* command : {"verify", "inspect"}) {
    expect_error(nacre({command, "text"}), 4);
    expect_error(nacre({command, "empty"}), 4);
    expect_error(nacre({command, "folder"}), 3);
    expect_error(nacre({command, "missing"}), 5);
  }
  expect_error(nacre({"diff", "text", "text"}), 4);
  expect_error(nacre({"bench", "load", "missing"}), 5);
}

TEST_F(CommandLine, StandardDescriptorsThatAreClosedTakeNoFilesOfTheRun) {
  const auto shell = [&](const std::string& line) {
    const std::string program = std::string(NACRE_BINARY_DIR) + "/nacre ";
    const int status = std::system(("cd " + folder_ + " && " + program + line).c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  const std::string train = "train --model tiny.json --data idx --steps 2 --batch-size 10 --threads 1 --out ";
  // The answer cannot be printed, which is told by the code.
  EXPECT_EQ(shell(train + "run <&- >&- 2>&-"), 5);
  EXPECT_EQ(metrics("run").size(), 2U);
  EXPECT_EQ(shell(train + "quiet >out 2>&-"), 0);
  EXPECT_EQ(metrics("quiet").size(), 2U);
  EXPECT_TRUE(identical("run", "quiet"));
}

TEST_F(CommandLine, AnUnknownInstructionSetIsRefused) {
  setenv("NACRE_ISA", "mmx", 1);
  const Outcome outcome = nacre({"models"});
  unsetenv("NACRE_ISA");
  expect_error(outcome, 2);
  EXPECT_THAT(outcome.err, HasSubstr("NACRE_ISA"));
}

TEST(Console, MessagesStayOneLine) {
  EXPECT_EQ(printable("a\nb\x7f\tc"), "a\\x0ab\\x7f\\x09c");
}

TEST(Console, TablesAlign) {
  Table table({{"name", Table::Align::kLeft}, {"n", Table::Align::kRight}});
  table.add_row({"a", "1,000"});
  table.add_rule();
  table.add_row({"\xc3\xa9tale"});
  EXPECT_EQ(table.to_string(), "name       n\n------------\na      1,000\n------------\n\xc3\xa9tale\n");
}

TEST(Console, NumbersHaveCommas) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1000), "1,000");
  EXPECT_EQ(with_commas(-1234567), "-1,234,567");
}

}  // namespace
}  // namespace nacre
