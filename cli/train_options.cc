#include "cli/train_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "cli/data_source.h"
#include "cli/enum_text.h"
#include "engine/parallel.h"

namespace nacre {
namespace {

using Json = nlohmann::json;

/// Fills the settings.
class Reader {
 public:
  explicit Reader(const GivenOptions& given) : given_(given) {}

  void group(std::string_view) {}
  void field(std::string_view name, OptionRole, std::string& value, std::string_view, std::string_view) {
    const GivenOption* found = find(name);
    if (found == nullptr) return;
    if (found->value.is_string() && !found->value.get_ref<const std::string&>().empty()) {
      value = found->value.get<std::string>();
    } else {
      fail(*found, "text");
    }
  }
  void field(std::string_view name, OptionRole, bool& value, std::string_view) {
    const GivenOption* found = find(name);
    if (found == nullptr) return;
    if (found->value.is_boolean()) {
      value = found->value.get<bool>();
    } else {
      fail(*found, "true or false");
    }
  }
  void field(std::string_view name, OptionRole, int64_t& value, int64_t min, int64_t max, std::string_view) {
    const GivenOption* found = find(name);
    if (found == nullptr) return;
    const bool fits = found->value.is_number_unsigned()
                          ? found->value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)
                          : found->value.is_number_integer();
    if (fits && found->value.get<int64_t>() >= min && found->value.get<int64_t>() <= max) {
      value = found->value.get<int64_t>();
    } else {
      fail(*found, fmt::format("an integer from {} to {}", min, max));
    }
  }
  void field(std::string_view name, OptionRole, double& value, double min, double max, std::string_view) {
    const GivenOption* found = find(name);
    if (found == nullptr) return;
    // NaN fails both comparisons.
    if (found->value.is_number() && found->value.get<double>() >= min && found->value.get<double>() <= max) {
      value = found->value.get<double>();
    } else {
      fail(*found, fmt::format("a number from {} to {}", min, max));
    }
  }
  void field(std::string_view name, OptionRole role, std::optional<double>& value, double min, double max,
             std::string_view doc) {
    if (find(name) == nullptr) return;
    double number = min;
    field(name, role, number, min, max, doc);
    value = number;
  }
  template <Enumeration E>
  void field(std::string_view name, OptionRole, E& value, std::string_view) {
    const GivenOption* found = find(name);
    if (found == nullptr) return;
    for (const EnumName<E>& e : enum_names(E{})) {
      if (found->value.is_string() && found->value.get_ref<const std::string&>() == e.name) {
        value = e.value;
        return;
      }
    }
    fail(*found, names_of<E>());
  }
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  const GivenOption* find(std::string_view name) const {
    const auto found = given_.find(name);
    return found == given_.end() ? nullptr : &found->second;
  }
  void fail(const GivenOption& option, const std::string& expected) {
    if (!status_.ok()) return;
    const std::string found = option.value.dump(-1, ' ', false, Json::error_handler_t::replace);
    status_ = Status(option.code, fmt::format("{}: expected {}, found {}", option.where, expected, found));
  }

  const GivenOptions& given_;
  Status status_;
};

/// Lists names and roles.
class Lister {
 public:
  void group(std::string_view) {}
  template <typename... Rest>
  void field(std::string_view name, OptionRole role, Rest&&...) {
    roles.emplace_back(name, role);
  }
  std::vector<std::pair<std::string, OptionRole>> roles;
};

/// Writes the fields of some roles.
class Writer {
 public:
  explicit Writer(std::initializer_list<OptionRole> roles) : roles_(roles) {}

  void group(std::string_view) {}
  void field(std::string_view name, OptionRole role, std::string& value, std::string_view, std::string_view) {
    if (!value.empty()) put(name, role, value);
  }
  void field(std::string_view name, OptionRole role, bool& value, std::string_view) {
    put(name, role, value);
  }
  void field(std::string_view name, OptionRole role, int64_t& value, int64_t min, int64_t, std::string_view) {
    if (value >= min) put(name, role, value);
  }
  void field(std::string_view name, OptionRole role, double& value, double, double, std::string_view) {
    put(name, role, value);
  }
  void field(std::string_view name, OptionRole role, std::optional<double>& value, double, double,
             std::string_view) {
    if (value.has_value()) put(name, role, *value);
  }
  template <Enumeration E>
  void field(std::string_view name, OptionRole role, E& value, std::string_view) {
    put(name, role, name_of(value));
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::object();

 private:
  template <typename T>
  void put(std::string_view name, OptionRole role, const T& value) {
    if (std::find(roles_.begin(), roles_.end(), role) != roles_.end()) json[std::string(name)] = value;
  }
  std::vector<OptionRole> roles_;
};

/// Settles what more than one option decides.
Status settle_combinations(TrainSettings& settings, const GivenOptions& given) {
  const auto error = [&](std::string_view name, const std::string& reason) {
    const auto found = given.find(name);
    return found == given.end() ? Status(StatusCode::kUsage, fmt::format("--{}: {}", name, reason))
                                : Status(found->second.code, found->second.where + ": " + reason);
  };
  if (settings.epochs > 0 && settings.steps > 0) {
    return error("steps", "expected either epochs or steps, found both");
  }
  if (settings.momentum != 0 && settings.optimizer != OptimizerKind::kSgd) {
    return error(
        "momentum",
        "is for the optimizer sgd; adam and adamw have their own (give --momentum 0 or --optimizer sgd)");
  }
  if (settings.nesterov && settings.momentum == 0) {
    return error("nesterov", "needs --optimizer sgd with a --momentum");
  }
  if (!settings.map.empty() && settings.init_from.empty()) {
    return error("map", "is for names in a TensorFlow checkpoint: give --init-from too");
  }
  const std::optional<double> fraction = validation_fraction(settings.validation);
  // NaN fails both comparisons.
  if (fraction.has_value() && !(*fraction > 0 && *fraction < 1)) {
    return error("validation",
                 "expected a path, or a fraction between 0 and 1, found " + settings.validation);
  }
  // One way of writing it, so that equal ones compare equal.
  const Result<Augmentation> augmentation = Augmentation::parse(settings.augment);
  if (!augmentation.ok()) return error("augment", augmentation.status().message());
  settings.augment = augmentation->to_string();
  return {};
}

}  // namespace

Result<GivenOptions> given_in_json(const Json& object, const std::string& where, bool recipe) {
  if (!object.is_object()) {
    return Status(StatusCode::kBadData, where + ": expected a JSON object of options and their values");
  }
  TrainSettings unused;
  Lister lister;
  unused.visit(lister);
  std::string known;
  std::vector<std::string> names;
  for (const auto& [name, role] : lister.roles) {
    if (role == OptionRole::kSwitch) continue;
    if (recipe && (role == OptionRole::kPlace || role == OptionRole::kMachine)) continue;
    known += (known.empty() ? "" : ", ") + name;
    names.push_back(name);
  }
  GivenOptions given;
  for (const auto& [name, value] : object.items()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      return Status(StatusCode::kBadData,
                    fmt::format("{}: \"{}\" is no option there; known are {}", where, name, known));
    }
    given[name] = {value, where + ": " + name, StatusCode::kBadData};
  }
  return given;
}

void put_on_top(GivenOptions& base, const GivenOptions& over) {
  if (over.contains("epochs") || over.contains("steps")) {
    base.erase("epochs");
    base.erase("steps");
  }
  // What belongs to another optimizer does not come along.
  const auto optimizer = over.find("optimizer");
  const auto before = base.find("optimizer");
  if (optimizer != over.end() && before != base.end() && optimizer->second.value != before->second.value) {
    for (const char* name : {"momentum", "nesterov", "learning-rate"}) base.erase(name);
  }
  for (const auto& [name, option] : over) base[name] = option;
}

Result<TrainSettings> read_each_setting(const GivenOptions& given) {
  TrainSettings settings;
  Reader reader(given);
  settings.visit(reader);
  NACRE_RETURN_IF_ERROR(reader.status());
  return settings;
}

Result<TrainSettings> read_settings(const GivenOptions& given) {
  NACRE_ASSIGN_OR_RETURN(TrainSettings settings, read_each_setting(given));
  NACRE_RETURN_IF_ERROR(settle_combinations(settings, given));
  constexpr int64_t kDefaultEpochs = 10;
  if (settings.epochs == 0 && settings.steps == 0) settings.epochs = kDefaultEpochs;
  return settings;
}

nlohmann::ordered_json write_settings(TrainSettings settings) {
  settings.learning_rate = learning_rate_of(settings);
  Writer writer({OptionRole::kPlace, OptionRole::kWeights, OptionRole::kLength, OptionRole::kMachine});
  settings.visit(writer);
  return std::move(writer.json);
}

nlohmann::ordered_json write_recipe(TrainSettings settings) {
  settings.learning_rate = learning_rate_of(settings);
  Writer writer({OptionRole::kWeights, OptionRole::kLength});
  settings.visit(writer);
  return std::move(writer.json);
}

std::vector<std::string> differing_options(const TrainSettings& now, const TrainSettings& before) {
  const auto weights = [](TrainSettings settings) {
    settings.learning_rate = learning_rate_of(settings);
    Writer writer({OptionRole::kWeights});
    settings.visit(writer);
    return std::move(writer.json);
  };
  const nlohmann::ordered_json mine = weights(now);
  const nlohmann::ordered_json theirs = weights(before);
  std::vector<std::string> differences;
  for (const auto& [name, value] : mine.items()) {
    if (value != theirs.at(name)) {
      differences.push_back(fmt::format("{} ({}, was {})", name, value.dump(), theirs.at(name).dump()));
    }
  }
  return differences;
}

double learning_rate_of(const TrainSettings& settings) {
  return settings.learning_rate.value_or(settings.optimizer == OptimizerKind::kSgd ? 1e-2 : 1e-3);
}

Result<TrainOptions> train_options(const TrainSettings& settings, bool reference) {
  TrainOptions options;
  options.batch_size = settings.batch_size;
  options.epochs = settings.epochs;
  options.steps = settings.steps;
  options.optimizer.kind = settings.optimizer;
  options.optimizer.learning_rate = learning_rate_of(settings);
  options.optimizer.momentum = settings.momentum;
  options.optimizer.nesterov = settings.nesterov;
  options.optimizer.weight_decay = settings.weight_decay;
  options.optimizer.schedule = settings.lr_schedule;
  options.optimizer.warmup_steps = settings.warmup_steps;
  options.optimizer.clip_norm = settings.clip_norm;
  options.label_smoothing = settings.label_smoothing;
  options.class_weights = settings.class_weights;
  NACRE_ASSIGN_OR_RETURN(options.augmentation, Augmentation::parse(settings.augment));
  options.shuffle = !settings.no_shuffle;
  options.validate_every = settings.validate_every;
  options.stop_at_accuracy = settings.stop_at_accuracy;
  options.patience = settings.patience;
  options.checkpoint_every = settings.checkpoint_every;
  options.threads = settings.threads > 0 ? static_cast<int>(settings.threads) : available_threads();
  options.reference = reference;
  return options;
}

}  // namespace nacre
