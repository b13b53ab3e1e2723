#include "tests/structure/structure_rules.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <regex>
#include <set>
#include <sstream>

namespace nacre::structure {
namespace {

namespace fs = std::filesystem;

using Folders = std::set<std::string>;

const std::map<std::string, Folders>& own_folders() {
  static const std::map<std::string, Folders> table = {
      {"cli", {"serve", "train", "runtime", "serialize", "image", "layers", "engine"}},
      {"serve", {"train", "runtime", "serialize", "image", "layers", "engine", "schemas"}},
      {"runtime", {"serialize", "image", "layers", "engine"}},
      {"train", {"image", "layers", "engine"}},
      {"serialize", {"engine", "schemas"}},
      {"layers", {"engine"}},
      {"image", {"engine"}},
      {"engine", {}},
      {"schemas", {}},
  };
  return table;
}

const Folders& free_folders() {
  static const Folders table = {"bench", "tests", "examples"};
  return table;
}

/// Third-party headers, and parts of our own folders, by prefix, with the folders that may include them.
const std::map<std::string, Folders>& third_party() {
  static const std::map<std::string, Folders> table = {
      {"CLI/", {"cli"}},
      {"jpeglib.h", {"image"}},
      {"turbojpeg.h", {"image"}},
      {"stb/", {"image"}},
      {"stb_image", {"image"}},
      {"flatbuffers/", {"serialize"}},
      {"google/protobuf/", {"serialize", "serve"}},
      {"grpc/", {}},
      {"grpcpp/", {}},
      {"schemas/tensorflow/", {"serialize", "serve"}},
      {"schemas/", {"serialize", "serve"}},
      {"serialize/tensorflow/", {"serialize", "serve", "cli"}},
      {"nettle/", {"serialize", "train"}},
      {"xxhash.h", {"serialize", "train", "engine"}},
      {"nlohmann/", {"cli", "train", "serialize", "layers"}},
      {"boost/", {"serve"}},
      {"simdjson.h", {"serve"}},
      {"zlib.h", {"image", "train", "serialize", "serve"}},
      {"nghttp2/", {"serve"}},
      {"openssl/", {"serve"}},
      {"gtest/", {}},
      {"gmock/", {}},
      {"benchmark/", {}},
  };
  return table;
}

bool has_extension(const fs::path& file, std::initializer_list<std::string_view> extensions) {
  const std::string extension = file.extension().string();
  return std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
}

/// Regular files below `folder`, sorted; what is built or fetched is left out.
std::vector<fs::path> files_below(const fs::path& folder) {
  static const Folders skipped = {"build", "runs", "data", ".git", ".cache"};
  std::vector<fs::path> files;
  if (!fs::is_directory(folder)) return files;
  for (auto entry = fs::recursive_directory_iterator(folder); entry != fs::recursive_directory_iterator();
       ++entry) {
    if (entry->is_directory() && skipped.contains(entry->path().filename().string()))
      entry.disable_recursion_pending();
    if (entry->is_regular_file()) files.push_back(entry->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string place(const fs::path& root, const fs::path& file, size_t line_index) {
  return fs::relative(file, root).generic_string() + ":" + std::to_string(line_index + 1) + ": ";
}

/// Why `folder` may not include `header`; empty when it may.
std::string include_fault(const std::string& folder, const std::string& header) {
  if (header.find("..") != std::string::npos) return "includes a path with .. (" + header + ")";
  const std::string first = header.substr(0, header.find('/'));
  const bool ours = own_folders().contains(first) || free_folders().contains(first);
  if (free_folders().contains(folder)) return "";
  if (ours && header.find('/') != std::string::npos && first != folder &&
      !own_folders().at(folder).contains(first))
    return folder + " must not include " + header;
  for (const auto& [prefix, allowed] : third_party())
    if (header.starts_with(prefix) && !allowed.contains(folder))
      return folder + " must not include " + header;
  return "";
}

}  // namespace

Violations check_includes(const fs::path& root) {
  static const std::regex pattern(R"re(^\s*#\s*include\s*["<]([^">]+)[">])re");
  Folders folders = free_folders();
  for (const auto& [folder, unused] : own_folders()) folders.insert(folder);
  Violations violations;
  for (const std::string& folder : folders) {
    for (const fs::path& file : files_below(root / folder)) {
      if (!has_extension(file, {".h", ".cc", ".inc", ".in"})) continue;
      const std::vector<std::string> lines = lines_of(read_text(file));
      for (size_t i = 0; i < lines.size(); ++i) {
        std::smatch match;
        if (!std::regex_search(lines[i], match, pattern)) continue;
        const std::string fault = include_fault(folder, match[1]);
        if (!fault.empty()) violations.push_back(place(root, file, i) + fault);
      }
    }
  }
  return violations;
}

Violations check_foreign_paths(const fs::path& root) {
  static const std::regex pattern(R"re((^|[^A-Za-z0-9_}])/(work|shared)($|[^A-Za-z0-9_]))re");
  Violations violations;
  for (const fs::path& file : files_below(root)) {
    const bool text = has_extension(
        file, {".h", ".cc", ".md", ".txt", ".cmake", ".json", ".sh", ".fbs", ".in", ".supp", ".csv"});
    if (!text && file.parent_path().filename() != ".ci") continue;
    const std::vector<std::string> lines = lines_of(read_text(file));
    for (size_t i = 0; i < lines.size(); ++i)
      if (lines[i].size() < 4000 && std::regex_search(lines[i], pattern))
        violations.push_back(place(root, file, i) + "names a path outside the project");
  }
  return violations;
}

Violations check_file_length(const fs::path& root, int limit, const std::map<std::string, int>& allowed) {
  Violations violations;
  for (const fs::path& file : files_below(root)) {
    if (!has_extension(file, {".h", ".cc"})) continue;
    const std::string name = fs::relative(file, root).generic_string();
    const auto own = allowed.find(name);
    const int most = own == allowed.end() ? limit : own->second;
    const auto lines = static_cast<int>(lines_of(read_text(file)).size());
    if (lines > most)
      violations.push_back(name + ":" + std::to_string(lines) + ": has " + std::to_string(lines) +
                           " lines, the limit is " + std::to_string(most));
  }
  return violations;
}

Violations check_op_table(const fs::path& root) {
  static const std::regex definition(R"re(\bOpDef\s+(\w+)_op\s*\([^)]*\)\s*\{)re");
  const std::string listing = read_text(root / "layers" / "CMakeLists.txt");
  const size_t begin = std::min(listing.find("set(ops "), listing.size());
  std::istringstream table(listing.substr(begin, listing.find(')', begin) - begin));
  const Folders words{std::istream_iterator<std::string>(table), std::istream_iterator<std::string>()};
  Violations violations;
  for (const fs::path& file : files_below(root / "layers")) {
    if (!has_extension(file, {".cc"})) continue;
    const std::string code = code_only(read_text(file));
    for (std::sregex_iterator match(code.begin(), code.end(), definition), end; match != end; ++match)
      if (!words.contains((*match)[1]))
        violations.push_back(place(root, file, 0) + "layers/CMakeLists.txt does not list the op " +
                             match->str(1));
  }
  return violations;
}

Violations check_library_manners(const fs::path& root) {
  static const std::regex pattern(
      R"re(\bstd::(cout|cerr|clog)\b|\b(printf|fprintf|puts|fputs|perror|exit|_exit|abort|terminate)\s*\(|\bthrow\b|\bnew\s+[A-Za-z_:]+[\[({;<])re");
  // A member function of such a name is another one; a new that goes straight into its owner is not raw; and
  // an allocator reports as the standard says.
  static const std::regex pardoned(
      R"re((\.|->)\s*(printf|fprintf|puts|fputs|exit|abort|terminate)\s*\(|_ptr<[^;]*>\s*(\w+)?\(\s*new\b|throw std::bad_alloc\b)re");
  Violations violations;
  for (const auto& [folder, unused] : own_folders()) {
    if (folder == "cli") continue;
    for (const fs::path& file : files_below(root / folder)) {
      if (!has_extension(file, {".h", ".cc"})) continue;
      const std::vector<std::string> lines = lines_of(code_only(read_text(file)));
      for (size_t i = 0; i < lines.size(); ++i) {
        std::smatch match;
        // The owner may stand at the end of the line before.
        const std::string before = i > 0 && lines[i - 1].ends_with('(') ? lines[i - 1] : "";
        if (std::regex_search(lines[i], match, pattern) && !std::regex_search(before + lines[i], pardoned))
          violations.push_back(place(root, file, i) + "a library must not use `" + match.str() + "`");
      }
    }
  }
  return violations;
}

std::vector<std::string> shared_libraries(const fs::path& binary) {
  std::vector<std::string> libraries;
  if (!fs::is_regular_file(binary)) return libraries;
  const std::string command = "ldd '" + binary.string() + "' 2>&1";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), &pclose);
  if (pipe == nullptr) return libraries;
  std::array<char, 4096> line{};
  while (std::fgets(line.data(), static_cast<int>(line.size()), pipe.get()) != nullptr)
    libraries.emplace_back(line.data());
  return libraries;
}

std::vector<std::string> unwanted_libraries(const std::vector<std::string>& libraries) {
  static const std::regex pattern(
      R"re(lib(grpc|gpr|protobuf|absl|mpi|open-rte|open-pal|python|tensorflow|boost|gtest|omp\b))re");
  std::vector<std::string> unwanted;
  for (const std::string& library : libraries)
    if (std::regex_search(library, pattern) || library.find("not found") != std::string::npos)
      unwanted.push_back(library);
  return unwanted;
}

std::string code_only(std::string_view source) {
  std::string out(source);
  enum class State { kCode, kLine, kBlock, kString, kChar, kRaw } state = State::kCode;
  std::string raw_end;
  for (size_t i = 0; i < source.size(); ++i) {
    const char c = source[i];
    const char next = i + 1 < source.size() ? source[i + 1] : '\0';
    const bool line_break = c == '\n';
    switch (state) {
      case State::kCode:
        if (c == '/' && next == '/') state = State::kLine;
        if (c == '/' && next == '*') state = State::kBlock;
        if (c == '"' && i > 0 && source[i - 1] == 'R') {
          state = State::kRaw;
          const size_t open = source.find('(', i);
          raw_end = ")" +
                    std::string(source.substr(i + 1, open == std::string_view::npos ? 0 : open - i - 1)) +
                    "\"";
        } else if (c == '"') {
          state = State::kString;
        }
        // An apostrophe between digits or letters separates digits (1'000) or is a prefix's; only others open
        // a literal.
        if (c == '\'' && (i == 0 || std::isalnum(static_cast<unsigned char>(source[i - 1])) == 0))
          state = State::kChar;
        if (state == State::kLine || state == State::kBlock) {
          out[i] = out[i + 1] = ' ';
          ++i;
        }
        break;
      case State::kLine:
        if (line_break) state = State::kCode;
        break;
      case State::kBlock:
        if (c == '*' && next == '/') {
          state = State::kCode;
          out[i] = out[i + 1] = ' ';
          ++i;
          continue;
        }
        break;
      case State::kString:
      case State::kChar:
        if (c == '\\' && next != '\n') {
          out[i] = ' ';
          if (i + 1 < source.size()) out[++i] = ' ';
          continue;
        }
        if (c == (state == State::kString ? '"' : '\'') || line_break) {
          state = State::kCode;
          continue;
        }
        break;
      case State::kRaw:
        if (source.substr(i, raw_end.size()) == raw_end) {
          i += raw_end.size() - 1;
          state = State::kCode;
          continue;
        }
        break;
    }
    const bool blank = state != State::kCode && !line_break && c != '"' && c != '\'';
    if (blank) out[i] = ' ';
  }
  return out;
}

}  // namespace nacre::structure
