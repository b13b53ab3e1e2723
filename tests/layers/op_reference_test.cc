#include "layers/op_reference.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "layers/registry.h"

namespace nacre {
namespace {

using ::testing::HasSubstr;

/// NACRE_WRITE_DOCS=1 makes docs/ops.md again.
TEST(OpReference, DocsAreThoseOfTheDefinitions) {
  const std::string path = std::string(NACRE_SOURCE_DIR) + "/docs/ops.md";
  const std::string expected = op_reference(builtin_ops());
  if (std::getenv("NACRE_WRITE_DOCS") != nullptr) std::ofstream(path) << expected;
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(text.str() == expected)
      << "docs/ops.md is not that of layers/: run layers_tests with NACRE_WRITE_DOCS=1 and commit it";
}

TEST(OpReference, HasEveryOpWithItsAttributes) {
  const Registry registry = builtin_ops();
  const std::string text = op_reference(registry);
  for (const OpDef& op : registry.all()) {
    EXPECT_THAT(text, HasSubstr(op.pattern.empty() ? "\n## " + op.name + "\n" : "| " + op.name + " |"));
  }
  EXPECT_THAT(text, HasSubstr("| `padding` | \"valid\" \\| \"same\" | `\"valid\"` | "));
  EXPECT_THAT(text, HasSubstr("| `units` | integer, 1 to 16777216 | required | number of outputs |"));
}

}  // namespace
}  // namespace nacre
