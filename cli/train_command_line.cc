#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "cli/enum_text.h"
#include "cli/train_options.h"

namespace nacre {
namespace {

using Json = nlohmann::json;

/// Makes CLI11's options. They take texts; Reader is what checks values, so that the command line and files
/// are held to the same.
class OptionAdder {
 public:
  OptionAdder(CLI::App& app, std::map<std::string, std::string, std::less<>>& texts,
              std::map<std::string, bool, std::less<>>& flags,
              std::map<std::string, CLI::Option*, std::less<>>& options)
      : app_(app), texts_(texts), flags_(flags), options_(options) {}

  void group(std::string_view title) { group_ = title; }
  void field(std::string_view name, OptionRole, std::string& value, std::string_view type,
             std::string_view doc) {
    add(name, type, doc, value);
  }
  void field(std::string_view name, OptionRole, bool&, std::string_view doc) {
    const std::string key(name);
    options_[key] = app_.add_flag("--" + key, flags_[key], std::string(doc))->group(group_);
  }
  void field(std::string_view name, OptionRole, int64_t& value, int64_t min, int64_t, std::string_view doc) {
    add(name, "N", doc, value >= min && doc.find("(0:") == doc.npos ? std::to_string(value) : "");
  }
  void field(std::string_view name, OptionRole, double& value, double, double, std::string_view doc) {
    add(name, "X", doc, doc.find("(0:") == doc.npos ? fmt::format("{}", value) : "");
  }
  void field(std::string_view name, OptionRole, std::optional<double>&, double, double,
             std::string_view doc) {
    add(name, "X", doc, "");
  }
  template <Enumeration E>
  void field(std::string_view name, OptionRole, E& value, std::string_view doc) {
    add(name, names_of<E>(), doc, name_of(value));
  }

 private:
  void add(std::string_view name, std::string_view type, std::string_view doc, const std::string& shown) {
    const std::string key(name);
    std::string text(doc);
    if (!shown.empty()) text += " (default: " + shown + ")";
    options_[key] =
        app_.add_option("--" + key, texts_[key], text)->type_name(std::string(type))->group(group_);
  }

  CLI::App& app_;
  std::map<std::string, std::string, std::less<>>& texts_;
  std::map<std::string, bool, std::less<>>& flags_;
  std::map<std::string, CLI::Option*, std::less<>>& options_;
  std::string group_;
};

/// Turns the texts of a command line into what their fields take; a text that is no number stays one, and
/// Reader says so.
class TextConverter {
 public:
  explicit TextConverter(std::map<std::string, Json, std::less<>>& values) : values_(values) {}

  void group(std::string_view) {}
  void field(std::string_view, OptionRole, std::string&, std::string_view, std::string_view) {}
  void field(std::string_view, OptionRole, bool&, std::string_view) {}
  void field(std::string_view name, OptionRole, int64_t&, int64_t, int64_t, std::string_view) {
    convert<int64_t>(name);
  }
  void field(std::string_view name, OptionRole, double&, double, double, std::string_view) {
    convert<double>(name);
  }
  void field(std::string_view name, OptionRole, std::optional<double>&, double, double, std::string_view) {
    convert<double>(name);
  }
  template <Enumeration E>
  void field(std::string_view, OptionRole, E&, std::string_view) {}

 private:
  template <typename T>
  void convert(std::string_view name) {
    const auto found = values_.find(name);
    if (found == values_.end()) return;
    const auto text = found->second.get<std::string>();
    T number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return;
    // JSON has no NaN and no infinity; no field takes one.
    if (std::isfinite(static_cast<double>(number))) found->second = number;
  }
  std::map<std::string, Json, std::less<>>& values_;
};

}  // namespace

void CommandLineOptions::add_to(CLI::App& command) {
  TrainSettings defaults;
  OptionAdder adder(command, texts_, flags_, options_);
  defaults.visit(adder);
}

GivenOptions CommandLineOptions::given() const {
  std::map<std::string, Json, std::less<>> values;
  for (const auto& [name, option] : options_) {
    if (option->count() == 0) continue;
    const auto text = texts_.find(name);
    values[name] = text == texts_.end() ? Json(flags_.at(name)) : Json(text->second);
  }
  TrainSettings unused;
  TextConverter converter(values);
  unused.visit(converter);
  GivenOptions given;
  for (const auto& [name, value] : values) given[name] = {value, "--" + name, StatusCode::kUsage};
  return given;
}

}  // namespace nacre
