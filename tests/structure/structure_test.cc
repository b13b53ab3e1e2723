#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/structure/structure_rules.h"

namespace nacre::structure {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const fs::path kProject = NACRE_SOURCE_DIR;

// The project itself.

TEST(Project, IncludesFollowTheArrows) {
  EXPECT_THAT(check_includes(kProject), IsEmpty());
}

TEST(Project, NamesNoForeignPath) {
  EXPECT_THAT(check_foreign_paths(kProject), IsEmpty());
}

TEST(Project, FilesAreShort) {
  EXPECT_THAT(check_file_length(kProject, 400, {}), IsEmpty());
}

TEST(Project, EveryOpIsInTheTable) {
  EXPECT_THAT(check_op_table(kProject), IsEmpty());
}

TEST(Project, LibrariesReportByStatus) {
  EXPECT_THAT(check_library_manners(kProject), IsEmpty());
}

TEST(Project, BinaryLoadsNoServerOrPython) {
  const std::vector<std::string> libraries = shared_libraries(fs::path(NACRE_BINARY_DIR) / "nacre");
  ASSERT_THAT(libraries, Not(IsEmpty())) << "build the target nacre first";
  EXPECT_THAT(unwanted_libraries(libraries), IsEmpty());
}

// The checkers: each must find a violation that is planted in a small project.

class Checker : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "nacre-structure-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { fs::remove_all(root_); }

  void plant(const std::string& file, const std::string& text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }

  fs::path root_;
};

TEST_F(Checker, FindsAnIncludeAgainstTheArrows) {
  plant("engine/a.h", "#pragma once\n#include \"layers/dense.h\"\n");
  plant("layers/b.cc", "#  include <train/trainer.h>\n#include \"engine/a.h\"\n#include <vector>\n");
  plant("serialize/c.cc", "#include \"schemas/x.h\"\n#include \"image/decode.h\"\n");
  plant("cli/d.cc", "#include \"train/t.h\"\n#include \"schemas/x.h\"\n");
  plant("image/e.cc", "#include \"../engine/a.h\"\n");
  plant("tests/any/f.cc", "#include \"cli/d.h\"\n#include \"engine/a.h\"\n");
  EXPECT_THAT(check_includes(root_),
              ElementsAre("cli/d.cc:2: cli must not include schemas/x.h",
                          "engine/a.h:2: engine must not include layers/dense.h",
                          "image/e.cc:1: includes a path with .. (../engine/a.h)",
                          "layers/b.cc:1: layers must not include train/trainer.h",
                          "serialize/c.cc:2: serialize must not include image/decode.h"));
}

TEST_F(Checker, FindsAnIncludeOfTheProductFromTestsOrTheOtherWayRound) {
  plant("engine/a.cc", "#include \"tests/structure/structure_rules.h\"\n");
  plant("train/b.cc", "#include \"bench/timer.h\"\n");
  EXPECT_THAT(check_includes(root_),
              ElementsAre("engine/a.cc:1: engine must not include tests/structure/structure_rules.h",
                          "train/b.cc:1: train must not include bench/timer.h"));
}

TEST_F(Checker, FindsAThirdPartyHeaderInTheWrongFolder) {
  plant("engine/a.cc", "#include <nlohmann/json.hpp>\n#include <hwy/highway.h>\n#include <Eigen/Core>\n");
  plant("train/b.cc", "#include <jpeglib.h>\n#include <zlib.h>\n");
  plant("layers/c.cc", "#include <gtest/gtest.h>\n");
  EXPECT_THAT(check_includes(root_), ElementsAre("engine/a.cc:1: engine must not include nlohmann/json.hpp",
                                                 "layers/c.cc:1: layers must not include gtest/gtest.h",
                                                 "train/b.cc:1: train must not include jpeglib.h"));
}

TEST_F(Checker, FindsAForeignPath) {
  const std::string slash = "/";
  plant("docs/a.md", "see network/work or " + slash + "work-like\nrun .." + slash + "shared/tool.sh\n");
  plant("scripts/b.sh", "cd " + slash + "work/main\n");
  plant("engine/c.cc", "// the workspace's workspace/shared/bytes\n");
  plant("build/d.md", "cd " + slash + "work/main\n");
  EXPECT_THAT(check_foreign_paths(root_), ElementsAre("docs/a.md:1: names a path outside the project",
                                                      "docs/a.md:2: names a path outside the project",
                                                      "scripts/b.sh:1: names a path outside the project"));
}

TEST_F(Checker, FindsALongFile) {
  plant("engine/long.cc", std::string(401, '\n'));
  plant("engine/full.cc", std::string(400, '\n'));
  plant("layers/allowed.cc", std::string(410, '\n'));
  EXPECT_THAT(check_file_length(root_, 400, {{"layers/allowed.cc", 420}}),
              ElementsAre("engine/long.cc:401: has 401 lines, the limit is 400"));
}

TEST_F(Checker, FindsAnOpThatIsNotInTheTable) {
  plant("layers/CMakeLists.txt", "# elu is a word here\nset(ops conv2d dense)\n");
  plant("layers/dense.cc", "OpDef dense_op() {\n  return {};\n}\n");
  plant("layers/elu.cc", "OpDef elu_op() {\n  return {};\n}\n");
  plant("layers/helper.cc", "// OpDef is described elsewhere\nint helper() { return 1; }\n");
  EXPECT_THAT(check_op_table(root_),
              ElementsAre("layers/elu.cc:1: layers/CMakeLists.txt does not list the op elu"));
}

TEST_F(Checker, FindsALibraryThatPrintsExitsOrThrows) {
  plant("engine/a.cc", "void f() { std::cout << 1; }\nvoid g() { exit(1); }\n");
  plant("image/b.cc", "// throw is a word here\nconst char* k = \"printf(\";\nvoid h() {\n  throw 1;\n}\n");
  plant("train/c.cc",
        "auto* p = new Thing(3);\nauto* q = renew(1);\nint error_exit(int);\n"
        "std::unique_ptr<T> t(new T(1));\nreturn std::unique_ptr<T>(\n    new T{2});\n");
  plant("cli/main.cc", "void f() { std::cout << 1; }\n");
  EXPECT_THAT(check_library_manners(root_), ElementsAre("engine/a.cc:1: a library must not use `std::cout`",
                                                        "engine/a.cc:2: a library must not use `exit(`",
                                                        "image/b.cc:4: a library must not use `throw`",
                                                        "train/c.cc:1: a library must not use `new Thing(`"));
}

TEST_F(Checker, FindsAnUnwantedLibrary) {
  EXPECT_THAT(unwanted_libraries({"\tlibgrpc++.so.1 => /usr/lib/x", "\tlibgomp.so.1 => /usr/lib/y",
                                  "\tlibx.so => not found", "\tlibpython3.11.so.1.0 => /usr/lib/z"}),
              ElementsAre(HasSubstr("libgrpc++"), HasSubstr("not found"), HasSubstr("libpython")));
  EXPECT_THAT(shared_libraries(root_ / "none"), IsEmpty());
}

TEST(CodeOnly, BlanksCommentsAndLiterals) {
  EXPECT_EQ(code_only("int a; // b\nint c;"), "int a;     \nint c;");
  EXPECT_EQ(code_only("x(\"a\\\"b\", 'c'); /* d\n */ e"), "x(\"    \", ' ');     \n    e");
  EXPECT_EQ(code_only("1'000 + y"), "1'000 + y");
  EXPECT_THAT(code_only("auto s = R\"re(throw)re\"; throw 1;"), HasSubstr("; throw 1;"));
}

}  // namespace
}  // namespace nacre::structure
