#include "engine/image_backward.h"

#include "engine/parallel.h"
#include "engine/plan.h"

namespace nacre {

std::vector<ImageGroup> choose_image_groups(const std::vector<Unit>& units, int64_t batch) {
  std::vector<int> readers(units.size() + 1, 0);
  for (const Unit& unit : units) {
    for (const int value : unit.inputs) ++readers[static_cast<size_t>(value)];
  }
  const auto chunks_of_unit = [&](const Unit& unit) -> int64_t {
    if (unit.inputs.size() != 1) return 0;
    return unit.operation->image_chunks(batch, unit.wants_input_gradient[0]);
  };
  // Whether unit i hands each image's gradient to the one before it.
  const auto hands_on = [&](size_t i) {
    const Unit& unit = units[i];
    const Unit& before = units[i - 1];
    const int64_t chunks = chunks_of_unit(unit);
    return chunks > 0 && chunks == chunks_of_unit(before) && unit.inputs[0] == static_cast<int>(i) &&
           readers[i] == 1 && unit.wants_input_gradient[0];
  };
  std::vector<ImageGroup> groups;
  for (size_t begin = 0; begin < units.size();) {
    size_t end = begin + 1;
    while (end < units.size() && hands_on(end)) ++end;
    if (end - begin > 1) groups.push_back({begin, end});
    begin = end;
  }
  return groups;
}

ImageStage ImageStage::of_batch(const Operator& operation, const BackwardArgs<float>& args) {
  const TensorView<float>& input = args.grad_inputs[0];
  ImageStage stage{&operation, args, {args.grad_output.data, args.output.shape.elements_per_row()}, {}};
  if (input.data != nullptr) stage.grad_input = {input.data, input.shape.elements_per_row()};
  return stage;
}

void backward_by_images(std::span<const ImageStage> stages) {
  const BackwardArgs<float>& args = stages.front().args;
  const int64_t batch = args.output.shape[0];
  const int64_t chunks = stages.front().operation->image_chunks(batch, args.grad_inputs[0].data != nullptr);
  for (const ImageStage& stage : stages) stage.operation->begin_images(stage.args);
  parallel_for(chunks, args.context.threads, [&](int64_t chunk, int worker) {
    const int64_t begin = chunk * batch / chunks;
    for (int64_t n = begin; n < (chunk + 1) * batch / chunks; ++n) {
      for (const ImageStage& stage : stages) {
        stage.operation->backward_image(
            stage.args,
            {n, chunk, n == begin, worker, stage.grad_output.of(n, worker), stage.grad_input.of(n, worker)});
      }
    }
  });
  for (const ImageStage& stage : stages) stage.operation->end_images(stage.args);
}

}  // namespace nacre
