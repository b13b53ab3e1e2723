#include <fmt/format.h>

#include <algorithm>

#include "engine/gradient_places.h"
#include "engine/memory_plan.h"
#include "engine/plan.h"
#include "engine/tensor.h"

namespace nacre {
namespace {

size_t bytes_of(const Shape& shape) {
  return static_cast<size_t>(shape.num_elements()) * sizeof(float);
}

__extension__ using Wide = unsigned __int128;

/// Buffers that share memory, and where each one's offset goes.
struct Buffers {
  void add(size_t bytes, int begin, int end, size_t* offset) {
    wanted_bytes += bytes;
    lifetimes.push_back({bytes, begin, end});
    offsets.push_back(offset);
  }
  /// Places them and returns the memory that they take.
  size_t settle() const {
    const MemoryPlan memory = plan_memory(lifetimes);
    for (size_t i = 0; i < offsets.size(); ++i) *offsets[i] = memory.offsets[i];
    return memory.total_bytes;
  }

  std::vector<Lifetime> lifetimes;
  std::vector<size_t*> offsets;
  Wide wanted_bytes = 0;
};

}  // namespace

bool Plan::is_between_loop_units(size_t unit) const {
  return options_.mode == Mode::kInference && unit + 1 < loop_.units;
}

/// Whether a unit's output lies where its input does; the graph's input is not the plan's.
bool Plan::is_view(size_t unit) const {
  if (options_.reference || !units_[unit].operation->info().is_view || units_[unit].inputs[0] == 0)
    return false;
  return is_between_loop_units(unit) ==
         is_between_loop_units(static_cast<size_t>(units_[unit].inputs[0]) - 1);
}

Status Plan::place_buffers() {
  const bool training = options_.mode == Mode::kTraining;
  const int count = static_cast<int>(units_.size());
  // Time: forward of unit i happens at i, its backward at 2 * count - 1 - i.
  const auto backward_time = [&](int unit) { return 2 * count - 1 - unit; };

  std::vector<bool> trainable(static_cast<size_t>(count) + 1,
                              false);  // something to train lies at or before the value
  std::vector<int> last_reader(static_cast<size_t>(count) + 1, -1);
  for (int i = 0; i < count; ++i) {
    Unit& unit = units_[static_cast<size_t>(i)];
    for (const int input : unit.inputs) {
      last_reader[static_cast<size_t>(input)] = i;
      const bool wanted = training && trainable[static_cast<size_t>(input)];
      unit.wants_input_gradient.push_back(wanted);
      if (wanted) trainable[static_cast<size_t>(i) + 1] = true;
    }
    for (const int variable : unit.variables) {
      if (variables_[static_cast<size_t>(variable)].has_gradient())
        trainable[static_cast<size_t>(i) + 1] = true;
    }
  }

  if (training && options_.loop_over_images && !options_.reference) {
    groups_ = choose_image_groups(units_, options_.batch);
  }
  std::vector<bool> handed_on(static_cast<size_t>(count) + 1, false);  // values whose gradient a group keeps
  for (const ImageGroup& group : groups_) {
    size_t offset = 0;
    for (size_t i = group.begin; i < group.end; ++i) {
      if (i > group.begin) handed_on[i] = true;
      units_[i].shared_offset = offset;
      offset += align_up(units_[i].operation->info().shared_bytes);
    }
    shared_bytes_ = std::max(shared_bytes_, offset);
  }

  Buffers buffers;
  Buffers loop_buffers;  // of one round of images
  const auto place = [&](size_t bytes, int begin, int end, size_t* offset) {
    buffers.add(bytes, begin, end, offset);
  };
  const std::vector<int> gradient_places = share_gradients();
  std::vector<Lifetime> gradients(static_cast<size_t>(count) + 1);  // of the values whose places they are
  std::vector<int> last_writer(static_cast<size_t>(count) + 1, -1);
  std::vector<int> view_end(static_cast<size_t>(count) + 1,
                            -1);  // when nobody needs the views of a value any more
  for (int i = count - 1; i >= 0; --i) {
    Unit& unit = units_[static_cast<size_t>(i)];
    const OperatorInfo& info = unit.operation->info();
    const auto output = static_cast<size_t>(i) + 1;
    int end = std::max(view_end[output], training ? backward_time(i) : std::max(i, last_reader[output]));
    // The graph's output stays until the caller has read it.
    if (i == count - 1) end = 2 * count;
    if (is_view(static_cast<size_t>(i))) {
      int& last = view_end[static_cast<size_t>(unit.inputs[0])];
      last = std::max(last, end);
    } else if (is_between_loop_units(static_cast<size_t>(i))) {
      loop_buffers.add(bytes_of(info.output), i, end, &unit.output_offset);
    } else {
      place(bytes_of(info.output.with_batch(options_.batch)), i, end, &unit.output_offset);
    }
    unit.packed_offset = packed_bytes_;
    const bool looped = static_cast<size_t>(i) < loop_.units;
    if ((!training || looped) && !options_.reference) packed_bytes_ += align_up(info.packed_bytes);
    size_t& shared = looped && !training ? loop_shared_bytes_ : shared_bytes_;
    shared = std::max(shared, align_up(info.shared_bytes));
    per_thread_bytes_ = std::max(per_thread_bytes_, align_up(info.per_thread_bytes));
    unit.partial_offsets.assign(unit.inputs.size(), Unit::kNone);
    unit.adds_gradient.assign(unit.inputs.size(), 0);
    if (!training) continue;
    place(info.saved_bytes, i, backward_time(i), &unit.saved_offset);
    if (i != count - 1 && trainable[output]) {
      const int begin = backward_time(last_reader[output]);
      Lifetime& gradient = gradients[static_cast<size_t>(gradient_places[output])];
      if (gradient.bytes == 0) gradient = {bytes_of(info.output), begin, begin};
      gradient.begin = std::min(gradient.begin, begin);
      gradient.end = std::max(gradient.end, backward_time(i));
    }
    for (size_t k = 0; k < unit.inputs.size(); ++k) {
      const auto input = static_cast<size_t>(unit.inputs[k]);
      if (!unit.wants_input_gradient[k]) continue;
      // What it has overwritten itself it cannot add to.
      const int writer = last_writer[input];
      last_writer[input] = i;
      if (writer > i && info.adds_gradients && !options_.reference) {
        unit.adds_gradient[k] = 1;
      } else if (writer >= 0) {
        const Shape& shape = units_[input - 1].operation->info().output;
        place(bytes_of(shape), backward_time(i), backward_time(i), &unit.partial_offsets[k]);
      }
    }
  }
  for (size_t value = 1; value < gradients.size(); ++value) {
    const Lifetime& gradient = gradients[value];
    if (gradient.bytes == 0) continue;
    size_t* const offset = &units_[value - 1].gradient_offset;
    if (handed_on[value]) {
      const Shape& shape = units_[value - 1].operation->info().output;
      loop_buffers.add(bytes_of(shape.with_batch(1)), gradient.begin, gradient.end, offset);
    } else {
      place(gradient.bytes, gradient.begin, gradient.end, offset);
    }
  }
  const Wide of_thread = loop_buffers.wanted_bytes + loop_shared_bytes_ + per_thread_bytes_;
  const Wide wanted_bytes = buffers.wanted_bytes + packed_bytes_ + shared_bytes_ +
                            of_thread * static_cast<unsigned>(options_.threads);
  if (wanted_bytes > options_.max_bytes) {
    return {StatusCode::kLimit, fmt::format("a batch of {} rows would need more than {} MiB of activations",
                                            options_.batch, options_.max_bytes >> 20)};
  }
  Wide variable_bytes = 0;
  for (const PlannedVariable& variable : variables_) {
    variable_bytes += bytes_of(variable.shape);
    if (variable_bytes > options_.max_bytes) {
      return {StatusCode::kLimit,
              fmt::format("the variables up to {} {} would need more than {} MiB", variable.name,
                          variable.shape.to_string(), options_.max_bytes >> 20)};
    }
  }
  arena_bytes_ = buffers.settle();
  loop_arena_bytes_ = loop_buffers.settle();
  for (size_t i = 0; i < units_.size(); ++i) {
    if (is_view(i))
      units_[i].output_offset = units_[static_cast<size_t>(units_[i].inputs[0]) - 1].output_offset;
  }
  for (size_t value = 1; value < gradient_places.size(); ++value) {
    const auto place_of = static_cast<size_t>(gradient_places[value]);
    units_[value - 1].gradient_offset = units_[place_of - 1].gradient_offset;
  }
  return {};
}

std::vector<int> Plan::share_gradients() const {
  std::vector<GradientWrites> operators;
  for (const Unit& unit : units_) {
    GradientWrites writes;
    writes.in_place = unit.operation->info().gradients_in_place && !options_.reference;
    for (size_t k = 0; k < unit.inputs.size(); ++k) {
      if (unit.wants_input_gradient[k]) writes.values.push_back(unit.inputs[k]);
    }
    operators.push_back(std::move(writes));
  }
  return nacre::share_gradients(operators);
}

}  // namespace nacre
